import type { bucket as en } from "../en/bucket";

export const bucket: typeof en = {
  title: "버킷",
  help: "닫힌 스팬 파일을 여기로 복사합니다. 아직 여기에 없는 것은 이 머신을 잃으면 함께 잃습니다.",
  helpReader: "이 프로세스는 버킷에서 읽기만 합니다. 쓰는 프로세스는 따로 있습니다.",
  failing: "마지막 시도가 실패했습니다",
  lost: "두 쓰기 프로세스 중 하나를 멈추십시오",
  address: "주소",
  files: "버킷에 있는 파일",
  far: "이 디스크에는 없는 파일",
  waiting: "업로드를 기다리는 파일",
  since: "버킷에 없는 가장 오래된 스팬",
  uploads: "업로드한 파일",
  failures: "실패한 시도",
  written: "매니페스트 기록",
  checked: "매니페스트 확인",
  cache: "디스크 캐시",
  hits: "캐시에서 읽은 횟수",
  fetches: "버킷에서 읽은 횟수",
};
