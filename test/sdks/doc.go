// Package sdks finds the spans of real reporters again through every query API. The folders beside it hold one small sender a
// language, each with pinned versions; what they are built of is kept in the cache folder of tools/get.
package sdks
