package main

import "errors"

type experimentCmd struct{}

// Run is being built.
func (experimentCmd) Run(a *App) error { return errors.New("experiment: being built") }
