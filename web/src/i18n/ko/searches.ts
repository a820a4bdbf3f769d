import type { searches as en } from "../en/searches";

export const searches: typeof en = {
  open: "저장한 검색과 최근 검색",
  short: "저장한 검색",
  saved: "모두에게 저장됨",
  recent: "이 브라우저의 최근 검색",
  noneSaved: "아직 저장한 검색이 없습니다.",
  noneRecent: "아직 검색하지 않았습니다.",
  name: "이 검색의 이름",
  save: "이 검색 저장",
  replace: "저장한 검색 바꾸기",
  remove: (name) => `${name} 삭제`,
  removeSure: (name) => `${name} 정말 삭제`,
  clearRecent: "최근 검색 지우기",
  unsupported:
    "이 저장 엔진은 검색을 저장하지 않습니다. 대신 링크를 복사하십시오. 링크에 검색 전체가 들어 있습니다.",
  failed: "저장하지 못했습니다.",
  savedToast: "저장했습니다",
  removedToast: "삭제했습니다",
  everything: "모든 트레이스",
};
