// Package kits puts two instances of each service of kits/ behind a gateway and two sidecars, real Envoys, and looks for one trace with the
// spans of all of them in order. `make kits` runs it; what the services are built of is kept in the cache folder of tools/get.
package kits
