import type { forward as en } from "../en/forward";

export const forward: typeof en = {
  title: "다른 백엔드로 보내는 사본",
  help: "받은 스팬을 다음 백엔드에도 보냅니다. 사본은 백엔드가 받을 때까지 디스크에서 기다립니다.",
  failing: "백엔드가 스팬을 받지 않습니다",
  damaged: "읽지 못한 항목",
  refused: "끝내 거부되어 건너뛴 스팬",
  lastRefusal: "마지막 거부 이유",
  dropped: "디스크 한도에 이르러 보내지 못한 스팬",
  unreadable: "손상된 파일로 보내지 못한 스팬",
};
