package main

import "errors"

type importCmd struct{}

// Run is being built.
func (importCmd) Run(a *App) error { return errors.New("import: being built") }
