package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counters is what /metrics shows. No label holds an id.
type counters struct {
	registry       *prometheus.Registry
	requests       *prometheus.CounterVec
	seconds        *prometheus.HistogramVec
	events         *prometheus.CounterVec
	exposureFailed prometheus.Counter
	stickyFailed   prometheus.Counter
	unleash        *prometheus.CounterVec
}

func newCounters() *counters {
	c := &counters{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "perennial_http_requests_total", Help: "Requests by route and class of status."},
			[]string{"method", "route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "perennial_http_request_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 5, 30}}, []string{"method", "route"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "perennial_events_total", Help: "Events at the door by outcome."}, []string{"outcome"}),
		exposureFailed: prometheus.NewCounter(prometheus.CounterOpts{Name: "perennial_exposures_failed_total",
			Help: "Exposures that could not be queued; the unit's next evaluation writes them again."}),
		stickyFailed: prometheus.NewCounter(prometheus.CounterOpts{Name: "perennial_sticky_failed_total", Help: "First answers that could not be kept."}),
		unleash: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "perennial_unleash_evaluations_total",
			Help: "Evaluations that Unleash SDKs reported, by experiment and variant (counts, not units)."}, []string{"experiment", "variant"}),
	}
	c.registry.MustRegister(c.requests, c.seconds, c.events, c.exposureFailed, c.stickyFailed, c.unleash,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return c
}

// Register adds a collector to /metrics, such as the lake's.
func (s *Server) Register(c prometheus.Collector) error { return s.count.registry.Register(c) }

func (c *counters) handler() http.Handler {
	return promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{})
}

// routeCount counts one route without a map lookup on the hot path.
type routeCount struct {
	class   [6]prometheus.Counter
	seconds prometheus.Observer
}

func (c *counters) route(method, route string) *routeCount {
	r := &routeCount{seconds: c.seconds.WithLabelValues(method, route)}
	for i := range r.class {
		r.class[i] = c.requests.WithLabelValues(method, route, strconv.Itoa(i)+"xx")
	}
	return r
}

func (r *routeCount) done(status int, took time.Duration) {
	if i := status / 100; i >= 1 && i < len(r.class) {
		r.class[i].Inc()
	}
	r.seconds.Observe(took.Seconds())
}
