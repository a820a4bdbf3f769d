package render

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// manyHosts of one domain become one entry with a wildcard: there will be more of them.
const manyHosts = 4

// HostsOf takes the hosts out of URLs that went to no service of the mesh, as words that Parse reads: each host once, in
// order, several of one domain as a wildcard. skipped counts addresses and names of the cluster, which say nothing in a
// ServiceEntry, and what is no URL.
func HostsOf(urls []string) (words []string, skipped int) {
	byDomain := make(map[string][]string) // "scheme port domain" to hosts
	for _, text := range urls {
		scheme, host, port, ok := outside(text)
		if !ok {
			skipped++
			continue
		}
		_, domain, _ := strings.Cut(host, ".")
		key := scheme + " " + port + " " + domain
		if !slices.Contains(byDomain[key], host) {
			byDomain[key] = append(byDomain[key], host)
		}
	}
	for key, hosts := range byDomain {
		f := strings.Split(key, " ")
		scheme, port, domain := f[0], f[1], f[2]
		if len(hosts) >= manyHosts && strings.Contains(domain, ".") {
			hosts = []string{"*." + domain}
		}
		for _, h := range hosts {
			words = append(words, fmt.Sprintf("%s://%s:%s", scheme, h, port))
		}
	}
	slices.Sort(words)
	return words, skipped
}

func outside(text string) (scheme, host, port string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", "", false
	}
	host, port = strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.") {
		return "", "", "", false
	}
	word := u.Scheme + "://" + host + ":" + port
	if _, err := hosts([]string{word}); err != nil {
		return "", "", "", false
	}
	return u.Scheme, host, port, true
}
