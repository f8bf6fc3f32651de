package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"perennial/features"
	"perennial/features/lake"
)

// read loads one file by its extension.
func (in *importing) read(ctx context.Context, name string, bar *importBar) error {
	base := strings.ToLower(filepath.Base(name))
	if strings.HasSuffix(base, ".parquet") {
		return in.parquet(ctx, name, bar)
	}
	r, closeAll, err := openText(name, bar)
	if err != nil {
		return err
	}
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".gz"), ".zst")
	lines := features.NewLines(r)
	switch {
	case in.importer.JSON() || name == "-" || strings.HasSuffix(base, ".ndjson") || strings.HasSuffix(base, ".jsonl") || strings.HasSuffix(base, ".json"):
		err = in.objects(ctx, name, lines)
	case strings.HasSuffix(base, ".tsv"):
		err = in.table(ctx, name, lines, '\t')
	default:
		err = in.table(ctx, name, lines, ',')
	}
	return errors.Join(err, closeAll())
}

// openText opens a file, decompressing by its extension.
func openText(name string, bar *importBar) (io.Reader, func() error, error) {
	if name == "-" {
		return os.Stdin, func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	r := bar.reader(f)
	switch strings.ToLower(filepath.Ext(name)) {
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return z, func() error { return errors.Join(z.Close(), f.Close()) }, nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return z, func() error { z.Close(); return f.Close() }, nil
	}
	return r, f.Close, nil
}

// objects reads lines of JSON.
func (in *importing) objects(ctx context.Context, name string, lines *features.Lines) error {
	if err := in.importer.Start(nil); err != nil {
		return badUsage{err}
	}
	for {
		text, number, err := lines.Next()
		var fault *features.LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &fault):
			if err := in.row(ctx, name, number, text, err); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("after line %d: %w", number, err)
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if err := in.row(ctx, name, number, text, in.importer.Object(text)); err != nil {
			return err
		}
	}
}

// table reads delimited records with a header.
func (in *importing) table(ctx context.Context, name string, lines *features.Lines, comma byte) error {
	if in.importer.Blanks() != nil && !strings.Contains(strings.ToLower(filepath.Base(name)), ".csv") {
		comma = 0
	}
	records := features.NewRecords(lines, comma)
	cells, number, text, err := records.Next()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	header := make([]string, len(cells))
	for i, c := range cells {
		header[i] = strings.TrimSpace(string(c))
	}
	first := false // the first record is data
	if comma == 0 && header[0] != in.importer.Blanks()[0] {
		first = true
		header = in.importer.Blanks()
		if len(cells) == len(header)-1 { // the whole CDNOW data has one id column
			header = header[1:]
		}
	}
	if err := in.importer.Start(header); err != nil {
		return badUsage{err}
	}
	for {
		if !first {
			cells, number, text, err = records.Next()
		}
		first = false
		var fault *features.LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &fault):
		case err != nil:
			return fmt.Errorf("after line %d: %w", number, err)
		default:
			err = in.importer.Row(cells, len(header))
		}
		if err := in.row(ctx, name, number, text, err); err != nil {
			return err
		}
	}
}

// parquet reads a Parquet file; rows are numbered from 1.
func (in *importing) parquet(ctx context.Context, name string, bar *importBar) error {
	number, width := 0, 0
	begin := func(columns []string) error {
		width = len(columns)
		if err := in.importer.Start(columns); err != nil {
			return badUsage{err}
		}
		return nil
	}
	row := func(cells [][]byte) error {
		number++
		return in.row(ctx, name, number, bytes.Join(cells, []byte(",")), in.importer.Row(cells, width))
	}
	if err := lake.ReadParquet(ctx, name, filepath.Join(in.app.Data, "tmp"), in.app.memory(), begin, row); err != nil {
		return err
	}
	bar.whole(name)
	return nil
}

// importBar shows on a terminal how much of the files is read; elsewhere it does nothing.
type importBar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
}

func newImportBar(a *App, names []string) *importBar {
	f, ok := a.Err.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return &importBar{}
	}
	var total int64
	for _, n := range names {
		if info, err := os.Stat(n); err == nil {
			total += info.Size()
		}
	}
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
	return &importBar{p, p.AddBar(total, mpb.PrependDecorators(decor.Name("import "), decor.CountersKibiByte("% .1f / % .1f")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.Elapsed(decor.ET_STYLE_GO)))}
}

func (b *importBar) reader(r io.Reader) io.Reader {
	if b.bar == nil {
		return r
	}
	return countingReader{r, b.bar}
}

func (b *importBar) whole(name string) {
	if info, err := os.Stat(name); err == nil && b.bar != nil {
		b.bar.IncrInt64(info.Size())
	}
}

func (b *importBar) done() {
	if b.bar == nil {
		return
	}
	b.bar.SetTotal(-1, true)
	b.progress.Wait()
	b.bar = nil
}

// countingReader moves the bar by what is read.
type countingReader struct {
	r   io.Reader
	bar *mpb.Bar
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bar.IncrBy(n)
	return n, err
}
