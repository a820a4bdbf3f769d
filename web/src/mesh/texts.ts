import { useI18n } from "../i18n";
import { meshTexts as en } from "../i18n/en/mesh";
import { meshTexts as ko } from "../i18n/ko/mesh";

/** The screen's own texts, which come with it. */
export function useMeshTexts() {
  const { t } = useI18n();
  return t.code === "ko" ? ko : en;
}
