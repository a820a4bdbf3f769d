import { describe, expect, it } from "vitest";
import { visible } from "./visible";

describe("names that hide something", () => {
  it.each([
    ["reviews", "reviews"],
    ["한국어 서비스", "한국어 서비스"],
    ["\u202elive", "\ufffdlive"],
    ["a\u0000b\r\n", "a\ufffdb\ufffd\ufffd"],
    ["  ", "␣␣"],
    ["\u200b", "\ufffd"],
    ["", ""],
    ["👩‍👩‍👧 team", "👩‍👩‍👧 team"],
    ["pay\u200dment", "pay\ufffdment"],
  ])("%j is shown as %j", (name, shown) => expect(visible(name)).toBe(shown));
});
