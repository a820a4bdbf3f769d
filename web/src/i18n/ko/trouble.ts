import type { trouble as en } from "../en/trouble";

export const trouble: typeof en = {
  label: "확인이 필요한 것",
  more: (_n, text) => `진단 결과 ${text}개 더 보기`,
  missing: (_n, text) => `빠진 서비스 ${text}개`,
  missingMore: (text) => `서비스 맵에서 ${text}개 더 보기`,
};
