package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// steps prints what a long command does: a bar below the lines on a terminal, plain lines otherwise.
type steps struct {
	out    io.Writer
	bars   *mpb.Progress // nil when out is not a terminal
	bar    *mpb.Bar
	title  string // of the running step
	number int
	total  int
	began  time.Time
}

// newSteps starts a list of total steps on out.
func newSteps(out io.Writer, total int) *steps {
	s := &steps{out: out, total: total}
	if file, ok := out.(*os.File); ok && isatty.IsTerminal(file.Fd()) {
		s.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithAutoRefresh())
		s.bar = s.bars.AddBar(int64(total), mpb.BarRemoveOnComplete(),
			mpb.AppendDecorators(decor.CountersNoUnit("step %d of %d done "), decor.Elapsed(decor.ET_STYLE_MMSS)))
	}
	return s
}

// begin names the step that starts now.
func (s *steps) begin(title string) {
	s.number++
	s.title, s.began = title, time.Now()
	s.line("[%d/%d] %s ...", s.number, s.total, title)
}

// done ends the running step with what came of it.
func (s *steps) done(format string, args ...any) {
	s.line("      %s (%.1f s)", fmt.Sprintf(format, args...), time.Since(s.began).Seconds())
	if s.bars != nil {
		s.bar.Increment()
	}
}

// line prints above the bar where there is one.
func (s *steps) line(format string, args ...any) {
	out := s.out
	if s.bars != nil {
		out = s.bars
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// close takes the bar away; it may be called more than once.
func (s *steps) close() {
	if s.bars == nil {
		return
	}
	s.bar.Abort(true)
	s.bars.Wait()
	s.bars = nil
}
