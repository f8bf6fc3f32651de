package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"perennial/experiments/stats"
)

// runSummaries answers sufficient statistics with another tool's formulas: one answer a line, in the order of the questions.
func (c *analyzeCmd) runSummaries(a *App) error {
	if c.Compat != "growthbook" {
		return usagef("--compat: %q is not growthbook; --summaries needs it", c.Compat)
	}
	if c.Summaries == "" {
		return usagef("--summaries FILE is missing")
	}
	f, err := os.Open(c.Summaries)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(a.Out)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 1<<16), 16<<20)
	for line := 1; s.Scan(); line++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		var question struct {
			Case *stats.GrowthBookCase `json:"case"`
		}
		if err := json.Unmarshal(s.Bytes(), &question); err != nil {
			return fmt.Errorf("%s: line %d: %w", c.Summaries, line, err)
		}
		if question.Case == nil {
			return fmt.Errorf("%s: line %d: no `case`", c.Summaries, line)
		}
		answer, err := question.Case.Answer()
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", c.Summaries, line, err)
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
	return s.Err()
}
