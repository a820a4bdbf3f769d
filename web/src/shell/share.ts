import { formatDoctor, parseDoctor } from "../model/doctorUrl";
import { formatMap, parseMap } from "../model/mapUrl";
import { formatOverview, parseOverview } from "../model/overviewUrl";
import { formatSearch, parseSearch } from "../model/searchUrl";
import { formatService, parseService } from "../model/serviceUrl";
import { absolute } from "../model/time";

/** shareableUrl is the address of this very view; ranges that end now are pinned, so that it stays this view. */
export function shareableUrl(path: string, nowMs: number): string {
  const url = new URL(location.href);
  const query = url.search.slice(1);
  if (path === "/search") {
    const v = parseSearch(query);
    url.search = formatSearch({ ...v, range: absolute(v.range, nowMs) });
  } else if (path === "/") {
    const v = parseOverview(query);
    url.search = formatOverview({ ...v, range: absolute(v.range, nowMs) });
  } else if (path === "/map") {
    const v = parseMap(query);
    url.search = formatMap({ ...v, range: absolute(v.range, nowMs) });
  } else if (path === "/doctor") {
    const v = parseDoctor(query);
    url.search = formatDoctor({ ...v, range: absolute(v.range, nowMs) });
  } else if (path.startsWith("/service/")) {
    const v = parseService(query);
    url.search = formatService({ ...v, range: absolute(v.range, nowMs) });
  }
  return url.href;
}
