// Package vectors reads and writes rows of DuckDB as the vectors that it keeps them in: a column of 2,048 values is a slice over DuckDB's own memory, where
// database/sql boxes every value. Merges of hundreds of millions of rows that are sorted already are done over it.
package vectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"
	sqlduck "github.com/duckdb/duckdb-go/v2"
)

// Capacity is how many rows a chunk has at most.
var Capacity = int(duckdb.VectorSize())

// DB is a private in-memory DuckDB. With one thread (SET threads = 1) a query runs on the goroutine that fetches its rows, so that as many goroutines
// as there are connections work at once. Its tables are there for all connections.
type DB struct{ db duckdb.Database }

// Open starts a DuckDB and runs its settings.
func Open(settings ...string) (*DB, error) {
	var config duckdb.Config
	duckdb.CreateConfig(&config)
	defer duckdb.DestroyConfig(&config)
	d := &DB{}
	var failed string
	if duckdb.OpenExt("", &d.db, config, &failed) == duckdb.StateError {
		return nil, fmt.Errorf("start duckdb: %s", failed)
	}
	c, err := d.Conn()
	if err != nil {
		d.Close()
		return nil, err
	}
	defer c.Close()
	for _, s := range settings {
		if err := c.Exec(context.Background(), s); err != nil {
			d.Close()
			return nil, fmt.Errorf("start duckdb: %w", err)
		}
	}
	return d, nil
}

// Close ends it; every connection is closed before.
func (d *DB) Close() { duckdb.Close(&d.db) }

// Conn is a connection, for one goroutine at a time.
type Conn struct{ conn duckdb.Connection }

// Conn opens a connection.
func (d *DB) Conn() (*Conn, error) {
	c := &Conn{}
	if duckdb.Connect(d.db, &c.conn) == duckdb.StateError {
		return nil, errors.New("connect to duckdb: refused")
	}
	return c, nil
}

// Of is the connection under one of database/sql, whose Raw hands driver out. Its owner closes it.
func Of(driver any) (*Conn, error) {
	c, ok := driver.(*sqlduck.Conn)
	if !ok {
		return nil, fmt.Errorf("%T is no connection of DuckDB", driver)
	}
	handle := reflect.ValueOf(c).Elem().FieldByName("conn")
	if handle.Type() != reflect.TypeFor[duckdb.Connection]() {
		return nil, fmt.Errorf("%T keeps its handle elsewhere", driver)
	}
	return &Conn{duckdb.Connection{Ptr: handle.FieldByName("Ptr").UnsafePointer()}}, nil
}

// Close ends the connection.
func (c *Conn) Close() { duckdb.Disconnect(&c.conn) }

// interruptible stops what the connection does when ctx ends; the caller calls done before the connection does anything else.
func (c *Conn) interruptible(ctx context.Context) (done func()) {
	var running sync.WaitGroup
	running.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer running.Done()
		duckdb.Interrupt(c.conn)
	})
	return func() {
		if !stop() {
			running.Wait()
		}
	}
}

// Exec runs statements.
func (c *Conn) Exec(ctx context.Context, query string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := c.interruptible(ctx)
	defer done()
	var res duckdb.Result
	defer duckdb.DestroyResult(&res)
	if duckdb.Query(c.conn, query, &res) == duckdb.StateError {
		return errors.Join(ctx.Err(), errors.New(duckdb.ResultError(&res)))
	}
	return nil
}

// Rows are the rows of a query, a chunk at a time, computed as they are fetched.
type Rows struct {
	N       int // rows of the chunk
	ended   bool
	ctx     context.Context
	c       *Conn
	stmt    duckdb.PreparedStatement
	res     duckdb.Result
	chunk   duckdb.DataChunk
	columns int
	data    []unsafe.Pointer
	valid   []unsafe.Pointer
}

// Query begins a query. Next gives its rows; the caller closes them before the connection does anything else.
func (c *Conn) Query(ctx context.Context, query string) (*Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &Rows{ctx: ctx, c: c}
	if duckdb.Prepare(c.conn, query, &r.stmt) == duckdb.StateError {
		err := errors.New(duckdb.PrepareError(r.stmt))
		r.Close()
		return nil, err
	}
	done := c.interruptible(ctx)
	defer done()
	if duckdb.ExecutePreparedStreaming(r.stmt, &r.res) == duckdb.StateError {
		err := errors.Join(ctx.Err(), errors.New(duckdb.ResultError(&r.res)))
		r.Close()
		return nil, err
	}
	r.columns = int(duckdb.ColumnCount(&r.res))
	r.data, r.valid = make([]unsafe.Pointer, r.columns), make([]unsafe.Pointer, r.columns)
	return r, nil
}

// Next fetches the next chunk; it is false after the last. What the chunk before gave is gone.
func (r *Rows) Next() (more bool, err error) {
	duckdb.DestroyDataChunk(&r.chunk)
	if r.N = 0; r.ended {
		return false, nil
	}
	defer func() { r.ended = !more }()
	if err := r.ctx.Err(); err != nil {
		return false, err
	}
	done := r.c.interruptible(r.ctx)
	r.chunk = duckdb.FetchChunk(r.res)
	done()
	if r.chunk.Ptr == nil {
		if text := duckdb.ResultError(&r.res); text != "" {
			return false, errors.Join(r.ctx.Err(), errors.New(text))
		}
		return false, r.ctx.Err()
	}
	if r.N = int(duckdb.DataChunkGetSize(r.chunk)); r.N == 0 {
		return false, nil
	}
	for i := range r.columns {
		v := duckdb.DataChunkGetVector(r.chunk, duckdb.IdxT(i))
		r.data[i], r.valid[i] = duckdb.VectorGetData(v), duckdb.VectorGetValidity(v)
	}
	return true, nil
}

// Close ends the query.
func (r *Rows) Close() {
	duckdb.DestroyDataChunk(&r.chunk)
	duckdb.DestroyResult(&r.res)
	duckdb.DestroyPrepare(&r.stmt)
}

var room sync.Once

// MakeRoom gives Go as many further processors as goroutines are in DuckDB at once, unless the environment has GOMAXPROCS. A goroutine that comes back from
// a long call has lost its processor and waits for another: on two cores a merge of two goroutines was 7 to 15 % slower without. It is of the whole process,
// so programs call it that do nothing else; a second call does nothing.
func MakeRoom(threads int) {
	room.Do(func() {
		if os.Getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threads)
		}
	})
}

// Number is a type of a column of numbers as it lies in memory.
type Number interface {
	~bool | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float64
}

// Column is the column at a place, of the type that it has in memory: int64 of a BIGINT, int32 of an INTEGER or a DATE. What a NULL holds is undefined.
func Column[T Number](r *Rows, at int) []T { return unsafe.Slice((*T)(r.data[at]), r.N) }

// Texts is a column of texts.
func (r *Rows) Texts(at int) []Text { return unsafe.Slice((*Text)(r.data[at]), r.N) }

// Valid tells which values of a column are not NULL, a bit a row; nil when none is.
func (r *Rows) Valid(at int) Validity {
	if r.valid[at] == nil {
		return nil
	}
	return unsafe.Slice((*uint64)(r.valid[at]), (r.N+63)/64)
}

// Validity has a bit for every value that is not NULL; nil is all of them.
type Validity []uint64

// Has tells whether value i is not NULL.
func (v Validity) Has(i int) bool { return v == nil || v[i/64]&(1<<(i%64)) != 0 }

// Clear makes value i NULL.
func (v Validity) Clear(i int) { v[i/64] &^= 1 << (i % 64) }

// Text is a text as DuckDB keeps it: up to twelve bytes in place, others elsewhere after their first four.
type Text struct {
	length uint32
	head   [4]byte
	rest   [8]byte
}

const inPlace = 12

// String is the text over DuckDB's memory: it is valid as long as its chunk.
func (t *Text) String() string {
	if t.length <= inPlace {
		return unsafe.String((*byte)(unsafe.Pointer(&t.head)), int(t.length))
	}
	return unsafe.String(*(**byte)(unsafe.Pointer(&t.rest)), int(t.length))
}

// Same tells whether two texts are equal.
func (t *Text) Same(o *Text) bool {
	if t.length != o.length || t.head != o.head {
		return false
	}
	return t.rest == o.rest || t.length > inPlace && t.String() == o.String()
}

// Type is a type of a column that is written.
type Type = duckdb.Type

// The types of columns.
const (
	BigInt  = duckdb.TypeBigInt
	Integer = duckdb.TypeInteger
	Double  = duckdb.TypeDouble
	Varchar = duckdb.TypeVarchar
)

// Appender fills a table chunk by chunk.
type Appender struct {
	appender duckdb.Appender
	chunk    duckdb.DataChunk
	vectors  []duckdb.Vector
	data     []unsafe.Pointer
}

// Append opens an appender of a table whose columns have these types.
func (c *Conn) Append(table string, types ...Type) (*Appender, error) {
	a := &Appender{}
	if duckdb.AppenderCreateExt(c.conn, "", "", table, &a.appender) == duckdb.StateError {
		err := fmt.Errorf("append to %s: %s", table, strings.TrimSpace(duckdb.AppenderError(a.appender)))
		duckdb.AppenderDestroy(&a.appender)
		return nil, err
	}
	logical := make([]duckdb.LogicalType, len(types))
	for i, t := range types {
		logical[i] = duckdb.CreateLogicalType(t)
		defer duckdb.DestroyLogicalType(&logical[i])
	}
	a.chunk = duckdb.CreateDataChunk(logical)
	a.vectors, a.data = make([]duckdb.Vector, len(types)), make([]unsafe.Pointer, len(types))
	a.point()
	return a, nil
}

func (a *Appender) point() {
	for i := range a.vectors {
		a.vectors[i] = duckdb.DataChunkGetVector(a.chunk, duckdb.IdxT(i))
		a.data[i] = duckdb.VectorGetData(a.vectors[i])
	}
}

// Into is a column of the chunk that is being filled, of the type that it has in memory; it has room for Capacity values.
func Into[T Number](a *Appender, at int) []T { return unsafe.Slice((*T)(a.data[at]), Capacity) }

// SetText writes a text, which is copied.
func (a *Appender) SetText(at, row int, text string) {
	duckdb.VectorAssignStringElement(a.vectors[at], duckdb.IdxT(row), text)
}

// AgainText gives a row the text of another row of the chunk.
func (a *Appender) AgainText(at, row, of int) {
	texts := unsafe.Slice((*Text)(a.data[at]), Capacity)
	texts[row] = texts[of]
}

// SetNull makes a value NULL.
func (a *Appender) SetNull(at, row int) { a.Nulls(at).Clear(row) }

// Nulls is which values of a column of the chunk are not NULL, for a caller who clears many. Like the columns of Into it is asked for again after Flush.
func (a *Appender) Nulls(at int) Validity {
	duckdb.VectorEnsureValidityWritable(a.vectors[at])
	return unsafe.Slice((*uint64)(duckdb.VectorGetValidity(a.vectors[at])), (Capacity+63)/64)
}

// Flush appends the first n rows of the chunk and empties it. Columns of Into are asked for again after it.
func (a *Appender) Flush(n int) error {
	if n == 0 {
		return nil
	}
	duckdb.DataChunkSetSize(a.chunk, duckdb.IdxT(n))
	if duckdb.AppendDataChunk(a.appender, a.chunk) == duckdb.StateError {
		return errors.New(duckdb.AppenderError(a.appender))
	}
	duckdb.DataChunkReset(a.chunk)
	a.point()
	return nil
}

// Close writes what was appended and ends the appender.
func (a *Appender) Close() error {
	defer duckdb.AppenderDestroy(&a.appender)
	duckdb.DestroyDataChunk(&a.chunk)
	if duckdb.AppenderClose(a.appender) == duckdb.StateError {
		return errors.New(duckdb.AppenderError(a.appender))
	}
	return nil
}
