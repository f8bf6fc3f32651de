package main

import "errors"

type featuresCmd struct{}

// Run is being built.
func (featuresCmd) Run(a *App) error { return errors.New("features: being built") }
