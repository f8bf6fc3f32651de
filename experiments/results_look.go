package experiments

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// UnmarshalJSON reads a recorded look. A number that the document lacks, because the version that wrote it did not know it, is not computed (null), not 0.
func (l *Look) UnmarshalJSON(raw []byte) error {
	var doc any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return err
	}
	fillAbsent(reflect.TypeFor[Look](), doc)
	full, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	type plain Look
	return json.Unmarshal(full, (*plain)(l))
}

// fillAbsent writes null into a document of a type wherever a Num is absent.
func fillAbsent(t reflect.Type, doc any) {
	switch t.Kind() {
	case reflect.Pointer:
		fillAbsent(t.Elem(), doc)
	case reflect.Slice:
		list, _ := doc.([]any)
		for _, x := range list {
			fillAbsent(t.Elem(), x)
		}
	case reflect.Map:
		object, _ := doc.(map[string]any)
		for _, x := range object {
			fillAbsent(t.Elem(), x)
		}
	case reflect.Struct:
		object, ok := doc.(map[string]any)
		if !ok {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			value, present := object[name]
			switch {
			case f.Anonymous && name == "":
				fillAbsent(f.Type, doc)
			case f.Type == reflect.TypeFor[Num]():
				if !present {
					object[name] = nil
				}
			case present:
				fillAbsent(f.Type, value)
			}
		}
	}
}
