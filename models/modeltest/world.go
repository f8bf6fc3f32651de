// Package modeltest is the contract that every model of the line-up passes, and the small shop with known truth that it is tried on.
package modeltest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"perennial/models"
)

// World makes n users of a stationary shop with the feature names of the default catalog and, for each, what happens in the next 60 days.
// Users have a gamma-distributed order rate (shape 2), a lognormal order value and an exponential lifetime whose rate is gamma-distributed
// (shape 2): a Pareto/NBD shop, in which who comes back and what she spends can be learned but not known. Some features are missing, as in the catalog. The same seed gives the same users;
// different seeds are different draws of the same shop.
func World(seed uint64, n int, target models.Target, asOf string) *models.Labelled {
	rng := rand.New(rand.NewPCG(seed, 1))
	l := &models.Labelled{}
	l.AsOf = asOf
	l.Names = []string{"orders_all", "revenue_all", "aov_all", "max_order_all", "recency_days", "tenure_days", "orders_30d", "orders_90d", "orders_180d", "revenue_90d", "ipt_mean", "sessions_7d", "frequency", "recency", "T", "monetary"}
	l.Values = make([][]float64, len(l.Names))
	for i := 0; len(l.Users) < n; i++ {
		age := 20 + 340*rng.Float64()
		life := rng.ExpFloat64() / (0.003 * (rng.ExpFloat64() + rng.ExpFloat64()))
		rate := 0.014 * (rng.ExpFloat64() + rng.ExpFloat64())
		level := 3.5 + 0.8*rng.NormFloat64()
		row := make([]float64, 16)
		row[4], row[5], row[10], row[11] = age, age, math.NaN(), 0
		later, spent, firstValue, lastDay := 0, 0.0, 0.0, -1.0
		for t := 0.0; t < age+60; t += rng.ExpFloat64() / rate {
			if t > 0 && t > life {
				break
			}
			v := math.Round(100*math.Exp(level+0.5*rng.NormFloat64())) / 100
			if t >= age {
				later++
				spent += v
				continue
			}
			if day := math.Floor(t); day > lastDay {
				if lastDay >= 0 {
					row[12]++
					row[13] = day
				}
				lastDay = day
			}
			if row[12] == 0 {
				firstValue += v
			}
			row[0]++
			row[1] += v
			row[3] = max(row[3], v)
			row[4] = age - t
			if age-t <= 30 {
				row[6]++
			}
			if age-t <= 90 {
				row[7]++
				row[9] += v
			}
			if age-t <= 180 {
				row[8]++
			}
			if t > 0 {
				row[10] = t / (row[0] - 1)
			}
		}
		row[2], row[14], row[15] = row[1]/row[0], math.Floor(age), math.NaN()
		if row[12] > 0 {
			row[15] = (row[1] - firstValue) / row[12]
		}
		if life > age {
			row[11] = math.Floor(4 * rng.ExpFloat64() * rate * 7)
		}
		for j, v := range row {
			l.Values[j] = append(l.Values[j], v)
		}
		l.Users = append(l.Users, fmt.Sprintf("u%d-%06d", seed, i))
		switch {
		case target == models.LTV:
			l.Y = append(l.Y, spent)
		case later == 0:
			l.Y = append(l.Y, 1)
		default:
			l.Y = append(l.Y, 0)
		}
	}
	return l
}
