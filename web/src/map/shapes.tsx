import type { NodeKind } from "./api";

/** A lock of 12 by 12: shut for mutual TLS, open for plain text. */
export function Lock({ open }: { open: boolean }) {
  return (
    <path
      d={`M2 5.6h8v5.4H2zM3.8 5.6V3.6a2.2 2.2 0 0 1 4.4 0${open ? "" : "v2"}`}
      fill="none"
      stroke="currentColor"
      strokeWidth="1.3"
      strokeLinejoin="round"
      strokeLinecap="round"
    />
  );
}

/**
 * The outline of a kind in a box of w × h around the origin: kinds differ by shape, not by colour. `inset` is how much room the
 * shape takes from its text at the left and right.
 */
export function outline(kind: NodeKind | "group", w: number, h: number): { path: string; inset: number } {
  const [x, y] = [w / 2, h / 2];
  switch (kind) {
    case "gateway":
      return {
        path: `M${-x} 0L${-x + 14} ${-y}H${x - 14}L${x} 0L${x - 14} ${y}H${-x + 14}Z`,
        inset: 10,
      };
    case "proxy":
      return { path: rounded(x, y, 2), inset: 0 };
    case "waypoint":
      return {
        path: `M${-x} ${-y + 10}L${-x + 10} ${-y}H${x - 10}L${x} ${-y + 10}V${y - 10}L${x - 10} ${y}H${-x + 10}L${-x} ${y - 10}Z`,
        inset: 4,
      };
    case "database":
      return {
        path: `M${-x} ${-y + 7}A${x} 7 0 0 1 ${x} ${-y + 7}V${y - 7}A${x} 7 0 0 1 ${-x} ${y - 7}Z`,
        inset: 0,
      };
    case "broker":
      return {
        path: `M${-x + 8} ${-y}H${x - 8}A8 ${y} 0 0 1 ${x - 8} ${y}H${-x + 8}A8 ${y} 0 0 1 ${-x + 8} ${-y}Z`,
        inset: 8,
      };
    case "external":
      return { path: cloud(x, y), inset: 10 };
    case "client":
    case "unknown":
    case "other":
      return { path: rounded(x, y, y), inset: 10 };
    case "group":
      return { path: rounded(x, y, 6), inset: 0 };
    default:
      return { path: rounded(x, y, 10), inset: 0 };
  }
}

/** What is drawn upon the outline: the lid of a cylinder, the end of a pipe. */
export function detail(kind: NodeKind | "group", w: number, h: number): string | undefined {
  const [x, y] = [w / 2, h / 2];
  if (kind === "database") return `M${-x} ${-y + 7}A${x} 7 0 0 0 ${x} ${-y + 7}`;
  if (kind === "broker") return `M${x - 8} ${-y}A8 ${y} 0 0 0 ${x - 8} ${y}`;
  if (kind === "blackhole")
    return [-0.3, 0, 0.3].map((at) => `M${w * at - 14} ${y}L${w * at + 14} ${-y}`).join("");
  return undefined;
}

function rounded(x: number, y: number, r: number): string {
  return `M${-x + r} ${-y}H${x - r}A${r} ${r} 0 0 1 ${x} ${-y + r}V${y - r}A${r} ${r} 0 0 1 ${x - r} ${y}H${-x + r}A${r} ${r} 0 0 1 ${-x} ${y - r}V${-y + r}A${r} ${r} 0 0 1 ${-x + r} ${-y}Z`;
}

/** Scallops along all four sides. */
function cloud(x: number, y: number): string {
  const n = 6;
  const step = (2 * (x - 9)) / n;
  const r = step / 1.85;
  let path = `M${-x + 9} ${-y + 5}`;
  for (let i = 0; i < n; i++) path += `a${r} ${r} 0 0 1 ${step} 0`;
  path += `a${y - 4} ${y - 3} 0 0 1 0 ${2 * y - 10}`;
  for (let i = 0; i < n; i++) path += `a${r} ${r} 0 0 1 ${-step} 0`;
  return `${path}a${y - 4} ${y - 3} 0 0 1 0 ${-(2 * y - 10)}Z`;
}

/** Line icons of the kinds, 16 by 16. */
export const kindIcon: Record<NodeKind | "group", string> = {
  service: "M2.5 4.5 8 2l5.5 2.5v7L8 14l-5.5-2.5zM2.5 4.5 8 7l5.5-2.5M8 7v7",
  proxy: "M2.5 4h11v8h-11zM5 8h5M8 6l2 2-2 2",
  gateway: "M2 8h8M7 4.5 10.5 8 7 11.5M13.5 2.5v11",
  waypoint: "M8 2.5 13.5 8 8 13.5 2.5 8zM6 8h4",
  external:
    "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M2.5 8h11M8 2.5c3.5 3 3.5 8 0 11M8 2.5c-3.5 3-3.5 8 0 11",
  database: "M3 4.2c0-2.3 10-2.3 10 0v7.6c0 2.3-10 2.3-10 0zM3 4.2c0 2.3 10 2.3 10 0M3 8c0 2.3 10 2.3 10 0",
  broker: "M2.5 4h11M2.5 8h11M2.5 12h11M5 2.5v3M10 6.5v3M7 10.5v3",
  passthrough: "M2.5 8h7M7 5l3 3-3 3M11.5 3h2v10h-2",
  blackhole: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M4.2 4.2l7.6 7.6",
  client: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8M3 13.5c.4-4.6 9.6-4.6 10 0",
  unknown: "M5.5 6c0-3.4 5-3.2 5-.2 0 2-2.5 2-2.5 4M8 12.6v.2",
  other: "M3.5 8h.2M8 8h.2M12.5 8h.2",
  group: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z",
};
