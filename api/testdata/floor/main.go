// Command floor is the cheapest honest server to compare with: net/http that reads the body and returns fixed bytes, those of the files that it is given.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

// fixed answers every question with the bytes of a file.
func fixed(path string) http.HandlerFunc {
	answer, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}
}

// main serves ADDRESS with the answers of the files SINGLE and BULK.
func main() {
	http.HandleFunc("POST /ofrep/v1/evaluate/flags/banner", fixed(os.Args[2]))
	http.HandleFunc("POST /ofrep/v1/evaluate/flags", fixed(os.Args[3]))
	http.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
