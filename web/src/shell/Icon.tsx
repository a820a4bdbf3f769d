/** Small line icons, 16 by 16. They are decoration: the control that holds one has a name of its own. */
const paths = {
  chevronRight: "M6 3.5 10.5 8 6 12.5",
  chevronDown: "M3.5 6 8 10.5 12.5 6",
  chevronUp: "M3.5 10 8 5.5 12.5 10",
  arrowLeft: "M13 8H3.5M7.5 3.5 3 8l4.5 4.5",
  star: "m8 2.3 1.75 3.6 3.95.55-2.87 2.77.7 3.93L8 11.28l-3.53 1.87.7-3.93L2.3 6.45l3.95-.55z",
  close: "m4 4 8 8m0-8-8 8",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  filter: "M2.5 3.5h11L9.5 8.5v4l-3-1.5v-2.5z",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9Zm3.3-1.2 3.2 3.2",
  warning: "M8 2.5 14 13H2zM8 6.5v3M8 11.2v.3",
  refresh: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  link: "M6.5 9.5a2.5 2.5 0 0 0 3.6 0l2.4-2.4a2.5 2.5 0 0 0-3.6-3.6l-.9.9m1.5 2.1a2.5 2.5 0 0 0-3.6 0L3.5 8.9a2.5 2.5 0 0 0 3.6 3.6l.9-.9",
  sliders: "M2.5 4.5h6m3 0h2m-11 7h2m3 0h6M8.5 3v3M4.5 10v3",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 4.8V8l2.2 1.6",
  text: "M3 4h10M3 8h10M3 12h6",
  external: "M9 2.5h4.5V7M13.3 2.7 7.5 8.5M11.5 9.5v4h-9v-9h4",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  target: "M8 12.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM8 1.5v3M8 11.5v3M1.5 8h3M11.5 8h3",
  pin: "M5.5 2.5h5l-.7 4 2.7 2.5h-9l2.7-2.5zM8 9v4.5",
  download: "M8 2.5v7.5M4.5 7 8 10.5 11.5 7M3 13.5h10",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.5m2 0H7m2 0h.5m2 0h.5M4 9.5h8",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={paths[name]} />
    </svg>
  );
}

/** The mark of an error: filled, with a shape of its own, so that it does not rest on its colour. */
export function ErrorMark({ size = 12 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 12 12" aria-hidden="true" focusable="false">
      <path d="M3.7.5h4.6l3.2 3.2v4.6l-3.2 3.2H3.7L.5 8.3V3.7z" fill="var(--error)" />
      <path d="M6 3v3.6M6 8.6v.4" stroke="var(--bg)" strokeWidth="1.5" strokeLinecap="round" />
    </svg>
  );
}
