//go:build !linux

package main

import "errors"

// dropAll takes a folder's files out of the page cache.
func dropAll(string) error { return errors.New("cold figures need Linux") }
