package features_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"perennial/features"
)

// importCSV runs a text through an importer as the command does, and returns the events and the reasons of the rejected rows.
func importCSV(t *testing.T, o features.ImportOptions, text string) (events []features.Event, reasons []string) {
	t.Helper()
	if o.Shop.Currency == "" {
		o.Shop = shop
	}
	o.Now = noon
	im, err := features.NewImporter(o)
	if err != nil {
		t.Fatal(err)
	}
	return importOn(t, im, text)
}

func importOn(t *testing.T, im *features.Importer, text string) (events []features.Event, reasons []string) {
	t.Helper()
	records := features.NewRecords(features.NewLines(strings.NewReader(text)), ',')
	var header []string
	for {
		cells, number, _, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if header == nil {
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cells {
				header = append(header, string(c))
			}
			if err := im.Start(header); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err == nil {
			err = im.Row(cells, len(header))
		}
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%d %v", number, err))
		}
	}
	events = im.Take()
	rest, faults := im.Finish()
	for _, f := range faults {
		reasons = append(reasons, f.Field+" "+f.Reason)
	}
	return append(events, rest...), reasons
}

func TestImportKeepsBadRowsAside(t *testing.T) {
	const head = "event_id,user_id,ts,value,order_id\n"
	good := func(id string) string { return id + ",u,2026-01-02T03:04:05Z,1.5,o" + id + "\n" }
	for _, c := range []struct{ name, bad, want string }{
		{"ragged", "x,u\n", "2 cells, want 5"},
		{"binary", "\x00\x01\xfe\xff,,,,\n", "line holds binary data"},
		{"not UTF-8", "x,u\xff\xfe,2026-01-02,1,o\n", "line is not valid UTF-8"},
		{"very long", "x,u,2026-01-02,1," + strings.Repeat("x", 3_000_000) + "\n", "line longer than 1 MiB"},
		{"impossible date", "x,u,2026-02-30 10:00:00,1,o\n", "ts: not a date or time"},
		{"no leap day", "x,u,2026-02-29 10:00:00,1,o\n", "ts: not a date or time"},
		{"bad amount", "x,u,2026-01-02,12.5x,o\n", "value: not a decimal number"},
		{"no user", "x,,2026-01-02,1,o\n", "user_id: missing"},
		{"no value", "x,u,2026-01-02,,o\n", "value: missing"},
		{"future", "x,u,2027-01-02,1,o\n", "ts: in the future"},
		{"open quote", "x,\"u,2026-01-02,1,o\n", "quoted cell does not end"},
		{"text after a quote", "x,\"u\"v,2026-01-02,1,o\n", "text after a closing quote"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, reasons := importCSV(t, features.ImportOptions{}, head+good("a")+c.bad+good("b")+good("c"))
			if len(events) != 3 {
				t.Errorf("%d events, want the 3 good rows; rejected %q", len(events), reasons)
			}
			if len(reasons) != 1 || !strings.HasPrefix(reasons[0], "3 ") || !strings.HasSuffix(reasons[0], c.want) {
				t.Errorf("rejected %q, want line 3: %s", reasons, c.want)
			}
		})
	}
}

func TestImportQuotes(t *testing.T) {
	events, reasons := importCSV(t, features.ImportOptions{}, "event_id,user_id,ts,value,category\r\n"+
		"a,\"u,1\",2026-01-02,1,\"say \"\"hi\"\"\"\r\n"+"b,u,2026-01-02,1,\"two\nlines\"\n"+"c,u,2026-01-02,1,5\" nail\n")
	if len(events) != 2 || events[0].UserID != "u,1" || events[0].Category != `say "hi"` || events[1].Category != `5" nail` {
		t.Errorf("events %+v", events)
	}
	if len(reasons) != 1 || !strings.Contains(reasons[0], "category: holds a control character") {
		t.Errorf("rejected %q, want the line break within a name", reasons)
	}
}

func TestImportZoneAndLag(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	events, reasons := importCSV(t, features.ImportOptions{Location: london, Lag: 36 * time.Hour}, "event_id,user_id,ts,value\n"+
		"a,u,2026-07-01 08:26:00,1\n"+"b,u,2026-07-01T08:26:00Z,1\n"+"c,u,2026-01-01,1\n"+"d,u,20260701,1\n"+"e,u,1782894360,1\n"+"f,u,2026/7/1 8:26,1\n")
	if len(reasons) > 0 || len(events) != 6 {
		t.Fatalf("%d events, rejected %q", len(events), reasons)
	}
	for i, want := range []string{"2026-07-01T07:26:00Z", "2026-07-01T08:26:00Z", "2026-01-01T00:00:00Z", "2026-06-30T23:00:00Z", "2026-07-01T08:26:00Z", "2026-07-01T07:26:00Z"} {
		e := events[i]
		if got := e.TS.Format(time.RFC3339); got != want || e.AvailableAt.Sub(e.TS) != 36*time.Hour {
			t.Errorf("row %s: ts %s, known %v later; want %s and 36h", e.EventID, got, e.AvailableAt.Sub(e.TS), want)
		}
	}
}

const retail = `InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,1,"HEART, ""RED""",6,2010-12-01 08:27:00,2.55,17850,United Kingdom
536365,2,X,1,2010-12-01 08:26:00,0.001,17850,United Kingdom
536365,2,X,1,2010-12-01 08:26:00,0.001,17850,United Kingdom
536366,3,Y,2,2010-12-01 09:00:00,1,,United Kingdom
536367,4,Z,2,2010-12-01 09:00:00,0,13047,United Kingdom
C536379,5,D,-2,2010-12-02 09:41:00,27.5,14527,France
536368,6,W,-2,2010-12-02 09:41:00,27.5,14527,France
`

func TestImportOnlineRetail(t *testing.T) {
	events, reasons := importCSV(t, features.ImportOptions{Preset: "online-retail"}, retail)
	want := []string{"5 user_id: missing", "6 price: not positive", "8 quantity: has the wrong sign for its invoice"}
	if fmt.Sprint(reasons) != fmt.Sprint(want) {
		t.Errorf("rejected %q, want %q", reasons, want)
	}
	if len(events) != 2 {
		t.Fatalf("%d events, want an order and a refund", len(events))
	}
	o, r := events[0], events[1]
	if o.Name != features.OrderCompleted || o.OrderID != "536365" || o.Value.Micros != 15_302_000 || o.TS.Format(time.DateTime) != "2010-12-01 08:26:00" ||
		string(o.Properties) != `{"country":"United Kingdom","items":8,"lines":3}` || !o.AvailableAt.Equal(o.TS) {
		t.Errorf("order %+v", o)
	}
	if r.Name != features.OrderRefunded || r.OrderID != "C536379" || r.Value.Micros != 55_000_000 || r.UserID != "14527" {
		t.Errorf("refund %+v", r)
	}
	// The same events whatever the order of the rows and whatever else is in the file.
	lines := strings.SplitAfter(retail, "\n")
	backwards := lines[0] + lines[3] + lines[6] + lines[2] + lines[1]
	again, _ := importCSV(t, features.ImportOptions{Preset: "online-retail"}, backwards)
	for i := range again {
		if a, b := string(features.EncodeEvent(nil, &again[i])), string(features.EncodeEvent(nil, &events[i])); a != b {
			t.Errorf("in another order of rows:\n%s\nwant\n%s", a, b)
		}
	}
}

func TestImportGroup(t *testing.T) {
	events, reasons := importCSV(t, features.ImportOptions{Group: "order_id", Map: map[string]string{"order_id": "no", "quantity": "qty", "price": "unit", "user_id": "who", "ts": "at"}},
		"no,who,at,qty,unit\n1,u,2026-01-02,2,1.25\n2,v,2026-01-03,1,10\n1,u,2026-01-01,1,0.5\n,u,2026-01-02,1,1\n")
	if len(events) != 2 || events[0].Value.Micros != 3_000_000 || events[0].TS.Day() != 1 || events[1].OrderID != "2" || len(reasons) != 1 {
		t.Errorf("events %+v, rejected %q; want two orders of 3 and 10, one line without order", events, reasons)
	}
}

// Rows without an id keep apart when they are equal, and have the same ids when the file comes again under any name.
func TestImportDerivedIDs(t *testing.T) {
	const text = "user_id,ts,event\nu,2026-01-02,Product Viewed\nu,2026-01-02,Product Viewed\nv,2026-01-02,Product Viewed\n"
	im, err := features.NewImporter(features.ImportOptions{Shop: shop, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := importOn(t, im, text)
	again, _ := importOn(t, im, text)
	ids := map[string]bool{}
	for i := range first {
		ids[first[i].EventID] = true
		if first[i].EventID != again[i].EventID {
			t.Errorf("row %d has the ids %s and %s", i, first[i].EventID, again[i].EventID)
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d ids for three rows", len(ids))
	}
}

func TestImportLinesOfJSON(t *testing.T) {
	for _, c := range []struct {
		name, preset, line, want string
		mapped                   map[string]string
	}{
		{"an exported event keeps what was known when", "", `{"event_id":"1","user_id":"u","event":"x","ts":"2026-01-02T00:00:00Z","sent_at":"2026-01-02T00:00:00Z","available_at":"2026-01-05T00:00:00Z"}`,
			"u x 2026-01-02T00:00:00Z 2026-01-05T00:00:00Z ", nil},
		{"mapped", "", `{"uid":"u","when":1767312000000,"pay":{"sum":12.5},"no":"7"}`, "u Order Completed 2026-01-02T00:00:00Z 2026-01-02T00:00:00Z 12.5",
			map[string]string{"user_id": "uid", "ts": "when", "value": "pay.sum", "order_id": "no"}},
		{"mapped number as user", "", `{"uid":7,"when":1767312000000}`, "user_id: not a JSON string", map[string]string{"user_id": "uid", "ts": "when"}},
		{"sensors order", "sensors", `{"distinct_id":"u","time":1767312000000,"type":"track","event":"PayOrder","properties":{"order_id":"7","order_amount":12.5,"$os":"iOS"}}`,
			"u Order Completed 2026-01-02T00:00:00Z 2026-01-02T00:00:00Z 12.5", nil},
		{"sensors mapped amount", "sensors", `{"distinct_id":"u","time":1767312000000,"type":"track","event":"PayOrder","properties":{"order_id":"7","order_amount":12.5,"paid":11}}`,
			"u Order Completed 2026-01-02T00:00:00Z 2026-01-02T00:00:00Z 11", map[string]string{"value": "properties.paid"}},
		{"sensors profile", "sensors", `{"distinct_id":"u","time":1767312000000,"type":"profile_set","properties":{}}`, "type: not track: profiles and sign-ups are not events", nil},
		{"sensors view", "sensors", `{"distinct_id":"u","time":1767312000000,"type":"track","event":"$pageview","properties":{"$url":"/"}}`,
			"u $pageview 2026-01-02T00:00:00Z 2026-01-02T00:00:00Z ", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := features.NewImporter(features.ImportOptions{Preset: c.preset, Map: c.mapped, Shop: shop, Now: noon})
			if err != nil {
				t.Fatal(err)
			}
			if err := im.Start(nil); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := im.Object([]byte(c.line)); err != nil {
				got = err.Error()
			} else if events := im.Take(); len(events) == 1 {
				e := events[0]
				value := ""
				if e.Value.Valid {
					value = e.Value.Micros.String()
				}
				got = fmt.Sprintf("%s %s %s %s %s", e.UserID, e.Name, e.TS.Format(time.RFC3339), e.AvailableAt.Format(time.RFC3339), value)
			}
			if got != c.want {
				t.Errorf("Object = %q, want %q", got, c.want)
			}
		})
	}
}

func TestImportPresetsOfColumns(t *testing.T) {
	events, reasons := importCSV(t, features.ImportOptions{Preset: "growthbook"}, "user_id,timestamp,experiment_id,variation_id\nu,2026-01-02 10:00:00,coupon,1\nu,2026-01-02 10:00:00,,1\n")
	if len(events) != 1 || events[0].Name != features.ExperimentViewed || string(events[0].Properties) != `{"experiment":"coupon","variant":"1"}` || len(reasons) != 1 {
		t.Errorf("growthbook: %+v, rejected %q", events, reasons)
	}
	events, reasons = importCSV(t, features.ImportOptions{Preset: "cdnow"}, "master_id,customer_id,date,cds,amount\n4,0001,1997-01-01,2,29.33\n4,0001,1997-01-01,2,29.33\n4,0001,1997-13-01,2,1\n")
	if len(events) != 2 || events[0].EventID == events[1].EventID || events[0].Value.Micros != 29_330_000 || len(reasons) != 1 {
		t.Errorf("cdnow: %+v, rejected %q; equal rows are two purchases", events, reasons)
	}
}

func TestImportOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      features.ImportOptions
		header []string
		want   string
	}{
		{"preset", features.ImportOptions{Preset: "nope"}, nil, `"nope" is not one of cdnow`},
		{"field", features.ImportOptions{Map: map[string]string{"valeu": "x"}}, nil, `"valeu" is not an event field`},
		{"column", features.ImportOptions{Map: map[string]string{"value": "price"}}, []string{"user_id", "ts", "amount"}, `the file has no column "price"; it has user_id, ts, amount`},
		{"group", features.ImportOptions{Group: "basket"}, []string{"user_id", "ts"}, `no column "basket"`},
		{"no user", features.ImportOptions{}, []string{"customer", "ts"}, `no column gives user_id`},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := features.NewImporter(c.o)
			if err == nil {
				err = im.Start(c.header)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("= %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("a,b\n\"x\ny\",\"z\"\"\"\n\"open,\n1,2\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		records := features.NewRecords(features.NewLines(strings.NewReader(string(text))), ',')
		last := 0
		for range len(text) + 2 {
			_, number, _, err := records.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if number <= last {
				t.Fatalf("line %d after line %d", number, last)
			}
			last = number
		}
		t.Fatal("the reader does not end")
	})
}
