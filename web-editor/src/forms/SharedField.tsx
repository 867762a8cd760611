/** A field that is a map of settings, such as a broker: the node's own, or those that several nodes share by name. */

import type { FieldProps } from "@rjsf/utils";
import { useState } from "react";
import type { Json } from "../api/types";
import { putShared, SHARED_NAME, sharedOf } from "../model/shared";
import { alike, groupOf } from "../model/forms";
import { activeTab, editFlow, useEditor } from "../state/editor";

type Fields = Record<string, Json>;
const [OWN, NOTHING] = ["", "-"];

export function SharedField(props: FieldProps) {
  const { formData, schema, name, fieldPathId, registry, uiSchema } = props;
  const tab = useEditor(activeTab);
  const isOptional = !!(schema as any).nullable;
  const isNothing = isOptional && (formData === null || formData === undefined);
  const used = typeof formData?.$use === "string" ? (formData.$use as string) : isNothing ? NOTHING : OWN;
  const shared = tab ? sharedOf(tab.doc) : [];
  const ObjectField = registry.fields.ObjectField!;
  const label = schema.title ?? name;
  const { "ui:field": _, "ui:fieldReplacesAnyOrOneOf": __, ...inner } = uiSchema ?? {};
  const group = {
    default: schema.default,
    ...groupOf(schema, registry.rootSchema),
    title: " ",
    description: undefined,
  };
  const choose = (to: string) =>
    props.onChange(to === NOTHING ? null : to === OWN ? (isOptional ? {} : undefined) : { $use: to }, fieldPathId.path);
  const one = shared.find((each) => each.name === used);
  return (
    <fieldset className="shared">
      <legend>{label}</legend>
      {schema.description && <p className="field-description">{schema.description}</p>}
      <select aria-label={`${label}: whose settings`} value={used} onChange={(event) => choose(event.target.value)}>
        {isOptional && <option value={NOTHING}>nothing</option>}
        <option value={OWN}>own settings</option>
        {shared.map((each) => (
          <option key={each.name} value={each.name}>
            shared: {each.name} ({each.users.length === 1 ? "1 node" : `${each.users.length} nodes`})
          </option>
        ))}
        {used && used !== NOTHING && !one && <option value={used}>shared: {used} (not there)</option>}
      </select>
      {(props.rawErrors ?? []).map((error) => (
        <p className="field-error" key={error}>
          {error}
        </p>
      ))}
      {used === NOTHING ? null : used === OWN ? (
        <>
          <ObjectField {...props} schema={group} uiSchema={inner} />
          <Share
            taken={shared.map((each) => each.name)}
            onShare={(as) => {
              editFlow((doc) =>
                putShared(doc, as, worth((formData ?? {}) as Fields, {}, (group.default ?? {}) as Fields)),
              );
              choose(as);
            }}
          />
        </>
      ) : one ? (
        <SharedFields
          key={used}
          name={used}
          config={one.config}
          users={one.users.length}
          field={{ ...props, schema: group }}
          inner={inner}
        />
      ) : (
        <p className="field-error">There are no shared settings {used} in this flow.</p>
      )}
    </fieldset>
  );
}

/** The shared settings themselves, changed for all who use them. */
function SharedFields(props: { name: string; config: Fields; users: number; field: FieldProps; inner: any }) {
  const { name, config, users, field } = props;
  const [isOpen, setOpen] = useState(false);
  const [draft, setDraft] = useState<Fields>(config);
  const ObjectField = field.registry.fields.ObjectField!;
  if (!isOpen)
    return (
      <p className="row">
        <span className="hint">
          {Object.entries(config)
            .map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
            .join(", ") || "all as by default"}
        </span>
        <button type="button" onClick={() => setOpen(true)}>
          Edit
        </button>
      </p>
    );
  return (
    <div className="shared-fields">
      <ObjectField
        {...field}
        uiSchema={props.inner}
        formData={draft}
        onChange={(value: any, path: any) =>
          setDraft((old) => within(old, (path as (string | number)[]).slice(field.fieldPathId.path.length), value))
        }
      />
      <p className="row">
        <button
          type="button"
          className="is-main"
          onClick={() => {
            editFlow((doc) => putShared(doc, name, worth(draft, config, (field.schema.default ?? {}) as Fields)));
            setOpen(false);
          }}
        >
          Change for {users === 1 ? "this node" : `all ${users} nodes`}
        </button>
        <button
          type="button"
          onClick={() => {
            setDraft(config);
            setOpen(false);
          }}
        >
          Leave as it was
        </button>
      </p>
    </div>
  );
}

function Share({ taken, onShare }: { taken: string[]; onShare: (name: string) => void }) {
  const [name, setName] = useState<string | null>(null);
  if (name === null)
    return (
      <button type="button" className="quiet" onClick={() => setName("")}>
        share these settings with other nodes
      </button>
    );
  const wrong = taken.includes(name)
    ? "there are some of this name"
    : SHARED_NAME.test(name)
      ? ""
      : "a-z, 0-9, - and _";
  const share = () => {
    if (!wrong) onShare(name);
  };
  return (
    <p className="row">
      <input
        autoFocus
        aria-label="Name of the shared settings"
        placeholder="name, such as plant"
        value={name}
        aria-invalid={!!name && !!wrong}
        title={name && wrong}
        onChange={(event) => setName(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.ctrlKey) return;
          event.preventDefault();
          share();
        }}
      />
      <button type="button" disabled={!!wrong} onClick={share}>
        Share
      </button>
      <button type="button" onClick={() => setName(null)}>
        Cancel
      </button>
    </p>
  );
}

function within(old: any, path: (string | number)[], value: Json): any {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  const copy = Array.isArray(old) ? [...old] : { ...old };
  copy[step] = within(copy[step], rest, value);
  return copy;
}

/** What was there, and what is not as by default. */
const worth = (draft: Fields, before: Fields, otherwise: Fields): Fields =>
  Object.fromEntries(
    Object.entries(draft).filter(
      ([key, value]) => value !== undefined && (key in before || !alike(value, otherwise[key])),
    ),
  );
