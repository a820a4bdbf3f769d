import { Popover as Radix } from "radix-ui";
import type { ReactNode } from "react";
import css from "./Popover.module.css";

/** A panel that opens below its button, closes on Escape and on a click elsewhere, and gives the focus back. */
export function Popover(p: {
  button: ReactNode;
  label: string;
  children: ReactNode;
  align?: "start" | "end";
  open?: boolean;
  onOpenChange?: (open: boolean) => void;
}) {
  const controlled = p.open === undefined ? {} : { open: p.open };
  const onOpenChange = p.onOpenChange ? { onOpenChange: p.onOpenChange } : {};
  return (
    <Radix.Root {...controlled} {...onOpenChange}>
      <Radix.Trigger asChild>{p.button}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          className={css["content"]}
          aria-label={p.label}
          align={p.align ?? "start"}
          sideOffset={4}
          collisionPadding={8}
        >
          {p.children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

export const PopoverClose = Radix.Close;
