package main

import (
	"os"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress makes the report of a long work: it is called after every part, and end takes the bar away.
type progress func(name string) (report func(done, all int), end func())

// progress shows a bar on a terminal; elsewhere it says nothing, as steps print their own lines.
func (a *App) progress(name string) (report func(done, all int), end func()) {
	f, ok := a.Err.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return func(int, int) {}, func() {}
	}
	bars := mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
	bar := bars.AddBar(0, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(name+" "), decor.CountersNoUnit("%d / %d ")), mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
	return func(done, all int) {
			bar.SetTotal(int64(all), false)
			bar.SetCurrent(int64(done))
		}, func() {
			bar.Abort(true)
			bars.Wait()
		}
}
