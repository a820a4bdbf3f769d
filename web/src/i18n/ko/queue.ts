import type { queue as en } from "../en/queue";

export const queue: typeof en = {
  title: "대기열",
  help: "스팬은 저장 엔진이 받을 때까지 여기서 기다립니다. 그때까지는 이 프로세스에서만 보입니다.",
  failing: "저장 엔진이 스팬을 받지 않습니다",
  waiting: "기다리는 스팬",
  hidden: (n) => `그중 ${n}개는 아직 읽을 수 없습니다`,
  oldest: "가장 오래 기다린 시간",
  disk: "디스크",
  diskOf: (used, limit) => `${limit} 중 ${used}`,
  sent: "보낸 스팬",
  failures: "실패한 시도",
  poison: "끝내 거부되어 따로 둔 스팬",
  poisonFile: "그중 가장 최근 파일",
  unreadable: "손상된 파일로 잃은 스팬",
};
