import { type ReactNode, useEffect, useRef } from "react";
import { useI18n } from "../i18n";
import { controls } from "./controls";
import css from "./Dialog.module.css";
import { Icon } from "./Icon";

/**
 * A modal dialog on the browser's own `<dialog>`: focus is kept inside and given back, Escape closes.
 * The usual component libraries write a `<style>` element to stop scrolling, which our content
 * security policy forbids.
 */
export function Dialog(p: { title: string; onClose: () => void; children: ReactNode; bare?: boolean }) {
  const { t } = useI18n();
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    // A click on the backdrop is a click on the dialog itself; the keyboard's way is Escape.
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes
    <dialog
      ref={ref}
      className={css["dialog"]}
      aria-label={p.title}
      onCancel={(e) => {
        e.preventDefault();
        p.onClose();
      }}
      onClick={(e) => {
        if (e.target === e.currentTarget) p.onClose();
      }}
    >
      <div className={css["inside"]}>
        {p.bare ? null : (
          <div className={css["head"]}>
            <h2>{p.title}</h2>
            <button type="button" className={controls["icon"]} onClick={p.onClose} aria-label={t.app.close}>
              <Icon name="close" />
            </button>
          </div>
        )}
        {p.children}
      </div>
    </dialog>
  );
}
