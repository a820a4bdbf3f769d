import type { found as en } from "../en/found";

export const found: typeof en = {
  running: (_n, text) => `지금까지 트레이스 ${text}개`,
  stop: "중지",
  stopped: "직접 중지했습니다. 더 오래된 트레이스가 빠졌을 수 있습니다.",
  blocks: (read, of) => `블록 ${of}개 중 ${read}개를 읽음`,
  export: "내보내기",
  exportHelp: (_n, text) => `불러온 트레이스 ${text}개`,
  asJson: "JSON 파일",
  asCsv: "CSV 파일",
  maybeDoctor: "닥터에서 원인 찾기",
  traceqlEmpty: "스팬은 들어오고 있지만 이 시간 범위에 이 TraceQL 쿼리에 맞는 트레이스가 없습니다.",
  editQuery: "쿼리 편집",
};
