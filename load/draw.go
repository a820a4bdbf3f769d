package load

import (
	"math"
	"math/rand/v2"
)

// draw is a random source that keeps account of the information in what it gave out: bits is the sum of -log2 p of every
// outcome under the distribution it was drawn from. No lossless code is shorter on average, which is what makes the sum of
// a trace the floor of its size on disk.
type draw struct {
	pcg  rand.PCG
	rng  *rand.Rand
	bits float64
}

func newDraw() *draw {
	d := &draw{}
	d.rng = rand.New(&d.pcg)
	return d
}

// seed starts the sequence of one trace. Sequences of neighbouring numbers are unrelated.
func (d *draw) seed(seed, no uint64) {
	d.pcg.Seed(mix(seed+0x9e3779b97f4a7c15), mix(no^seed))
	d.bits = 0
}

// mix is the finisher of SplitMix64: a bijection in which every input bit reaches every output bit.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// word is 64 random bits, never zero (ids of zero mean "none").
func (d *draw) word() uint64 {
	d.bits += 64
	for {
		if v := d.rng.Uint64(); v != 0 {
			return v
		}
	}
}

// intn is uniform in [0, n).
func (d *draw) intn(n int) int {
	if n <= 1 {
		return 0
	}
	d.bits += math.Log2(float64(n))
	return d.rng.IntN(n)
}

// chance is true with probability p.
func (d *draw) chance(p float64) bool {
	if d.rng.Float64() < p {
		d.bits -= math.Log2(p)
		return true
	}
	d.bits -= math.Log2(1 - p)
	return false
}

// weighted picks an index by weight; the weights add up to 1.
func (d *draw) weighted(weights []float64) int {
	at := d.rng.Float64()
	last := len(weights) - 1
	for i, w := range weights {
		if at -= w; at < 0 || i == last {
			d.bits -= math.Log2(w)
			return i
		}
	}
	return last
}

// logNormal is a whole number of at least 1 whose logarithm is normal: median and the spread of the logarithm. The
// information is that of the density at steps of one.
func (d *draw) logNormal(median, sigma float64) int64 {
	z := d.rng.NormFloat64()
	x := median * math.Exp(sigma*z)
	v := max(int64(x), 1)
	const rootTwoPi = 2.5066282746310002
	if bits := math.Log2(x*sigma*rootTwoPi) + z*z/2*math.Log2E; bits > 0 {
		d.bits += bits
	}
	return v
}
