import type { editor as en } from "../en/editor";

export const editor: typeof en = {
  toggle: "TraceQL 편집",
  toggleHelp: "이 검색을 TraceQL로 보고 편집합니다",
  label: "TraceQL 검색식",
  help: "Enter는 검색, Shift+Enter는 줄바꿈, Ctrl+Space는 자동 완성입니다.",
  apply: "검색",
  revert: "검색한 내용으로 되돌리기",
  changed: "아직 검색하지 않음",
  failed: "편집기를 불러오지 못했습니다. 아래 입력란에도 TraceQL을 쓸 수 있습니다.",
  mistake: (line, column, message) => `${line}번째 줄 ${column}번째 글자: ${message}`,
  expected: (text) => `올 수 있는 것: ${text}`,
  metrics: "메트릭 쿼리는 숫자를 답하며 트레이스를 찾지 않습니다. | rate() 이후를 빼십시오.",
  unchecked: "맞는지 서버에 물어보지 못했습니다. Enter를 누르면 그대로 검색합니다.",
  noForm: (fields) => `${fields} 필터는 TraceQL로 쓸 수 없습니다. 여기서 편집하면 이 필터는 빠집니다.`,
  chip: "TraceQL 쿼리",
  kinds: {
    field: "필드",
    attribute: "속성",
    value: "값",
    keyword: "키워드",
    function: "함수",
  },
};
