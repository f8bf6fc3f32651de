package gbdt

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// TestTelco: five stratified folds, pooled out of fold, sized by Auto, levels as categories, mean of three seeds. The bar of AUC 0.846 and log loss
// 0.415 lies between scikit-learn 1.9.1's logistic regression (0.8451, 0.4174) and what boosting can reach here (0.8488, 0.4122): its defaults
// lose 0.012 to 0.026 AUC on data of this size.
func TestTelco(t *testing.T) {
	d, kinds := telco(t)
	var aucs, losses float64
	for _, seed := range []uint64{42, 0, 1} {
		fold := stratified(d.Y, 5, seed)
		p := make([]float64, len(d.Y))
		for k := range 5 {
			train, test := part(d, func(i int) bool { return fold[i] != k }), part(d, func(i int) bool { return fold[i] == k })
			q := Auto(Logistic, len(train.Y))
			q.Categorical = kinds
			m, err := Fit(context.Background(), train, nil, q)
			if err != nil {
				t.Fatal(err)
			}
			out := predict(t, m, test)
			next := 0
			for i := range p {
				if fold[i] == k {
					p[i] = out[next]
					next++
				}
			}
		}
		aucs, losses = aucs+auc(p, d.Y)/3, losses+logLoss(p, d.Y)/3
	}
	t.Logf("AUC %.4f, log loss %.4f", aucs, losses)
	if aucs < 0.846 || losses > 0.415 {
		t.Errorf("AUC %.4f, log loss %.4f; want at least 0.846 and at most 0.415", aucs, losses)
	}
}

// telco reads the table; texts become codes by the order of their names.
func telco(t *testing.T) (*Data, []bool) {
	f, err := os.Open("testdata/telco_churn.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d, kinds := &Data{}, []bool{}
	for j, name := range rows[0] {
		column := make([]string, len(rows)-1)
		for i, r := range rows[1:] {
			column[i] = r[j]
		}
		if name == "customerID" {
			continue
		}
		levels := slices.Compact(slices.Sorted(slices.Values(column)))
		_, isText := strconv.ParseFloat(column[0], 64)
		values := make([]float64, len(column))
		for i, v := range column {
			if isText != nil {
				values[i] = float64(slices.Index(levels, v))
			} else if values[i], err = strconv.ParseFloat(v, 64); err != nil {
				values[i] = math.NaN() // eleven blank totals
			}
		}
		if name == "Churn" {
			d.Y = values
			continue
		}
		d.Names, d.Values, kinds = append(d.Names, name), append(d.Values, values), append(kinds, isText != nil)
	}
	if len(d.Y) != 7043 || len(d.Names) != 19 {
		t.Fatalf("%d rows, %d features", len(d.Y), len(d.Names))
	}
	return d, kinds
}

// stratified deals the rows of each class to folds.
func stratified(y []float64, folds int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 5))
	out, dealt := make([]int, len(y)), [2]int{}
	for _, i := range rng.Perm(len(y)) {
		c := int(y[i])
		out[i] = dealt[c] % folds
		dealt[c]++
	}
	return out
}

func part(d *Data, keep func(int) bool) *Data {
	out := &Data{Names: d.Names, Values: make([][]float64, len(d.Values))}
	for i, y := range d.Y {
		if keep(i) {
			out.Y = append(out.Y, y)
			for j := range d.Values {
				out.Values[j] = append(out.Values[j], d.Values[j][i])
			}
		}
	}
	return out
}

func auc(p, y []float64) float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	var ranks, positives float64
	for lo := 0; lo < len(order); {
		hi := lo
		for hi < len(order) && p[order[hi]] == p[order[lo]] {
			hi++
		}
		for _, i := range order[lo:hi] {
			ranks += y[i] * float64(lo+hi+1) / 2
			positives += y[i]
		}
		lo = hi
	}
	return (ranks - positives*(positives+1)/2) / (positives * (float64(len(y)) - positives))
}

func logLoss(p, y []float64) float64 {
	var sum float64
	for i := range p {
		sum -= y[i]*math.Log(p[i]) + (1-y[i])*math.Log1p(-p[i])
	}
	return sum / float64(len(y))
}
