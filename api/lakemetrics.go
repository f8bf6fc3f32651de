package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"perennial/features/lake"
)

// lakeCollector shows the lake's state on /metrics: what waits, what was dropped, what is left of the disk.
type lakeCollector struct{ lake *lake.Lake }

// lakeMetric is one number of lake.Stats.
type lakeMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*lake.Stats) float64
}

func gauge(name, help string, of func(*lake.Stats) float64) lakeMetric {
	return lakeMetric{prometheus.NewDesc("perennial_"+name, help, nil, nil), prometheus.GaugeValue, of}
}

func counter(name, help string, of func(*lake.Stats) float64) lakeMetric {
	return lakeMetric{prometheus.NewDesc("perennial_"+name, help, nil, nil), prometheus.CounterValue, of}
}

var lakeMetrics = []lakeMetric{
	gauge("journal_open", "1 while this server owns the journal.", func(s *lake.Stats) float64 { return flagOf(s.Serving) }),
	gauge("journal_tail_events", "Events acknowledged and not yet sealed.", func(s *lake.Stats) float64 { return float64(s.TailEvents) }),
	gauge("journal_tail_bytes", "Bytes acknowledged and not yet sealed.", func(s *lake.Stats) float64 { return float64(s.TailBytes) }),
	gauge("journal_tail_seconds", "Age of the oldest event that is not sealed.", func(s *lake.Stats) float64 { return s.TailAge.Seconds() }),
	gauge("disk_free_bytes", "Free space of the data directory.", func(s *lake.Stats) float64 { return float64(s.FreeBytes) }),
	gauge("disk_full", "1 while ingest is refused for lack of space.", func(s *lake.Stats) float64 { return flagOf(s.DiskFull) }),
	gauge("exposures_waiting", "Exposures in the queue.", func(s *lake.Stats) float64 { return float64(s.WaitingViews) }),
	gauge("exposed_units", "Members of the exposure set.", func(s *lake.Stats) float64 { return float64(s.Exposed) }),
	counter("exposures_total", "Exposures recorded since the start.", func(s *lake.Stats) float64 { return float64(s.Exposures) }),
	counter("exposures_dropped_total", "Exposures dropped because the queue was full; the unit's next evaluation writes them again.", func(s *lake.Stats) float64 { return float64(s.DroppedViews) }),
	counter("events_sealed_total", "Events written to segments.", func(s *lake.Stats) float64 { return float64(s.Sealed) }),
	counter("events_late_duplicates_total", "Duplicates found by a seal.", func(s *lake.Stats) float64 { return float64(s.LateDuplicates) }),
}

func flagOf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe names every metric.
func (c lakeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range lakeMetrics {
		out <- m.desc
	}
}

// Collect reads the lake once.
func (c lakeCollector) Collect(out chan<- prometheus.Metric) {
	s := c.lake.Stats()
	for _, m := range lakeMetrics {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&s))
	}
}
