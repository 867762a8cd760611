import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { EditorState } from "@codemirror/state";
import { describe, expect, it } from "vitest";
import { firstWrongLine } from "./syntax";

const inPython = (doc: string) => firstWrongLine(EditorState.create({ doc, extensions: [python()] }));
const inJavaScript = (doc: string) => firstWrongLine(EditorState.create({ doc, extensions: [javascript()] }));

describe("a script is looked through", () => {
  it("the body of a function is a whole program", () => {
    expect(inPython("n = context.get('n', 0) + 1\nif n > 3:\n    return [msg, None]\nyield {'a': f'{n:>3}'}")).toBe(
      null,
    );
    expect(inJavaScript("if (msg.payload > 3) { return [msg, null]; }\nconst a = await x();\nreturn {...msg};")).toBe(
      null,
    );
    expect(inPython("if msg.payload:\n  yield\nreturn")).toBe(null);
    expect(inPython("")).toBe(null);
  });
  it("the first line that does not fit is told", () => {
    expect(inPython("n = msg.payload\nif n > 3\nreturn msg")).toBe(2);
    expect(inPython("x = (1,\n")).toBeGreaterThan(0);
    expect(inJavaScript("let a = 1;\nlet b = ;\nreturn msg;")).toBe(2);
  });
});
