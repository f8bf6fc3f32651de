// Package web holds the marketer's pages as Vite built them. The Go build works before they are built: dist then holds only .keep.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// FS returns the built pages with index.html at the root, or nil when `npm run build` has not run before the Go build.
func FS() fs.FS {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil
	}
	if _, err := fs.Stat(root, "index.html"); err != nil {
		return nil
	}
	return root
}
