package lake

// atStep is nil but in the crash proof, whose child kills itself at a step: everything acknowledged before must survive, and nothing twice.
var atStep func(step string)

// reached is called between two effects on the disk.
func reached(step string) {
	if atStep != nil {
		atStep(step)
	}
}
