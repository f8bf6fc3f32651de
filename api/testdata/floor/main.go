// Command floor is the cheapest honest server to compare with: net/http that reads the body and returns fixed bytes.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	answer := []byte(`{"key":"banner","value":"show-b","variant":"b","reason":"SPLIT","metadata":{"allocation_revision":1}}`)
	http.HandleFunc("POST /ofrep/v1/evaluate/flags/banner", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
