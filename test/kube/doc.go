// Package kube tests the doctor against a real Kubernetes API server with Istio's own CRDs: lists, pages, rights, port-forwards,
// managed fields, watches; and it has the server check what `mesh render` writes and the plain manifests. It is a module of its
// own, because CRDs come from istio.io/api. `make kube` runs it.
//
// There is no kubelet, no scheduler and no controller: the tests write pods and their state, and stand in for the kubelet.
package kube

import _ "istio.io/api/annotation" // keeps the module, whose folder holds the CRDs
