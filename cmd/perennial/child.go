package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"perennial/experiments"
)

// child runs a command of this program on the same data directory as a process of its own at a lower priority, so that it takes nothing from requests,
// and reads its JSON document. Faults that the command names by field come back as *experiments.InvalidError.
func (a *App) child(ctx context.Context, doc any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args = append(args, "--json", "--data", a.Data)
	if a.Given != "" {
		args = append(args, "--config", a.Given)
	}
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, self, args...)
	c.Stdout, c.Stderr, c.WaitDelay = &out, &said, 5*time.Second
	if err := c.Start(); err != nil {
		return err
	}
	lowerPriority(c.Process.Pid)
	if err := c.Wait(); err != nil {
		var problem struct {
			Errors []experiments.Fault `json:"errors"`
		}
		if json.Unmarshal(out.Bytes(), &problem) == nil && len(problem.Errors) > 0 {
			return &experiments.InvalidError{Faults: problem.Errors}
		}
		return fmt.Errorf("%s: %w: %s", args[0], err, lastLine(said.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), doc); err != nil {
		return fmt.Errorf("%s: its answer is not JSON: %w", args[0], err)
	}
	return nil
}

func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	last := lines[len(lines)-1]
	if len(last) > 300 {
		last = last[:300]
	}
	return string(last)
}
