/** A menu of actions; it closes when one is chosen or the mouse leaves it. */

export interface MenuItem {
  label: string;
  act: () => void;
}

interface Props {
  items: MenuItem[];
  onClose: () => void;
  className?: string;
  at?: { x: number; y: number };
}

export function Menu({ items, onClose, className = "", at }: Props) {
  return (
    <ul className={`menu ${className}`} role="menu" style={at && { left: at.x, top: at.y }} onMouseLeave={onClose}>
      {items.map(({ label, act }) => (
        <li key={label} role="none">
          <button
            role="menuitem"
            onClick={() => {
              onClose();
              act();
            }}
          >
            {label}
          </button>
        </li>
      ))}
    </ul>
  );
}
