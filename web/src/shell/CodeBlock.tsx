import css from "./CodeBlock.module.css";
import { controls } from "./controls";
import { Icon } from "./Icon";
import { useCopy } from "./toast";

/** CodeBlock shows a command, a file or a difference, with a button that copies all of it. `limited` keeps long ones in a window of their own. */
export function CodeBlock(p: {
  label: string;
  copyLabel: string;
  text: string;
  diff?: boolean;
  limited?: boolean;
}) {
  const copy = useCopy();
  return (
    <figure className={css["code"]} data-limited={p.limited}>
      <figcaption>
        {p.label}
        <button
          type="button"
          className={controls["icon"]}
          aria-label={p.copyLabel}
          title={p.copyLabel}
          onClick={() => copy(p.text)}
        >
          <Icon name="copy" size={14} />
        </button>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be in reach of the keyboard */}
      <pre tabIndex={0}>
        {p.diff
          ? p.text.split("\n").map((line, i) => (
              <span
                // biome-ignore lint/suspicious/noArrayIndexKey: lines are their position
                key={i}
                data-line={/^\+(?!\+\+)/.test(line) ? "add" : /^-(?!--)/.test(line) ? "cut" : "same"}
              >
                {line}
                {"\n"}
              </span>
            ))
          : p.text}
      </pre>
    </figure>
  );
}
