package main

import "errors"

type doctorCmd struct{}

// Run is being built.
func (doctorCmd) Run(a *App) error { return errors.New("doctor: being built") }
