// Command kube-apiserver is Kubernetes' own API server, built from its published modules: there is no package of it.
// tools/get builds it for test/kube.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
