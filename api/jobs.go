package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"sync"
	"time"
)

// Job is one run of the night on demand.
type Job struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind" enum:"nightly"`
	AsOf     string     `json:"as_of,omitempty"`
	Status   string     `json:"status" enum:"running,done,failed"`
	By       string     `json:"by"`
	Started  time.Time  `json:"started_at"`
	Ended    *time.Time `json:"ended_at,omitempty"`
	Error    string     `json:"error,omitempty"`
	Document any        `json:"document,omitempty" doc:"What the command printed: steps and score_version"`
}

// jobs runs one job at a time: a second night beside the first would only wait for the same locks.
type jobs struct {
	mu      sync.Mutex
	running string
}

// manageJobs registers the night on demand. Jobs are kept as records of the lake, so that another server sees them too.
func (s *Server) manageJobs() {
	const tag = "models"
	type jobBody struct {
		Kind string `json:"kind" enum:"nightly" required:"true"`
		AsOf string `json:"as_of,omitempty" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" patternDescription:"YYYY-MM-DD" doc:"The cut; today in the shop's zone without it"`
	}
	type jobList struct {
		Jobs []Job `json:"jobs"`
	}
	manageOp(s, owners, tag, "POST", "/v1/jobs", "start-job", "Run the night now", func(ctx context.Context, in *struct{ Body jobBody }) (*body[Job], error) {
		j, err := s.startJob(ctx, in.Body.AsOf)
		return &body[Job]{j}, err
	}, accepted202, describe("It runs beside the server at a low priority. 409 while another runs."))
	manageOp(s, owners|readers, tag, "GET", "/v1/jobs", "list-jobs", "Jobs, newest first", func(ctx context.Context, _ *none) (*body[jobList], error) {
		list, err := s.jobRecords(ctx)
		return &body[jobList]{jobList{list}}, err
	})
	manageOp(s, owners|readers, tag, "GET", "/v1/jobs/{id}", "get-job", "One job", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*body[Job], error) {
		list, err := s.jobRecords(ctx)
		if err != nil {
			return nil, err
		}
		for _, j := range list {
			if j.ID == in.ID {
				return &body[Job]{j}, nil
			}
		}
		return nil, problem(http.StatusNotFound, "no such job")
	})
}

// jobRecords reads every job, newest first. A job that runs on no server any more was cut off with its server.
func (s *Server) jobRecords(ctx context.Context) ([]Job, error) {
	records, err := s.o.Lake.Records(ctx, "job")
	if err != nil {
		return nil, err
	}
	s.jobs.mu.Lock()
	running := s.jobs.running
	s.jobs.mu.Unlock()
	list := make([]Job, 0, len(records))
	for key, raw := range records {
		var j Job
		if err := json.Unmarshal(raw, &j); err != nil {
			return nil, fmt.Errorf("job %s: %w", key, err)
		}
		if j.Status == "running" && j.ID != running {
			j.Status, j.Error = "failed", "the server that ran it ended first; a night can be run again and goes on where it was"
		}
		list = append(list, j)
	}
	sort.Slice(list, func(a, b int) bool {
		if !list[a].Started.Equal(list[b].Started) {
			return list[a].Started.After(list[b].Started)
		}
		return list[a].ID > list[b].ID
	})
	return list, nil
}

// startJob begins a night and returns at once.
func (s *Server) startJob(ctx context.Context, asOf string) (Job, error) {
	if s.o.Nightly == nil {
		return Job{}, problem(http.StatusServiceUnavailable, "the night cannot be run from this server")
	}
	j := Job{ID: rand.Text()[:12], Kind: "nightly", AsOf: asOf, Status: "running", By: callerOf(ctx).By(), Started: time.Now().UTC().Truncate(time.Microsecond)}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if s.jobs.running != "" {
		return Job{}, problem(http.StatusConflict, "job %s is running: wait for it", s.jobs.running)
	}
	if err := s.o.Lake.PutRecord(ctx, "job", j.ID, j); err != nil {
		return Job{}, err
	}
	s.jobs.running = j.ID
	go s.runJob(j)
	return j, nil
}

func (s *Server) runJob(j Job) {
	ctx := context.Background()
	doc, err := s.o.Nightly(ctx, j.AsOf)
	end := time.Now().UTC().Truncate(time.Microsecond)
	j.Status, j.Ended, j.Document = "done", &end, doc
	if err != nil {
		j.Status, j.Error = "failed", err.Error()
		s.log.Error("job failed", "job", j.ID, "error", err)
	}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if err := s.o.Lake.PutRecord(ctx, "job", j.ID, j); err != nil {
		s.log.Error("job", "job", j.ID, "error", err)
	}
	s.jobs.running = ""
}
