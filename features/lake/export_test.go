package lake

// Steps are the places at which the crash proof kills, in the order of a life.
var Steps = []string{"append: to commit", "append: committed", "segment: written", "segment: synced", "segment: renamed", "manifest: to commit",
	"seal: committed", "seal: journal emptied", "replace: to commit", "replace: committed", "collect: file removed",
	"erase: hidden", "erase: segments", "erase: journal rewritten", "erase: proven"}

// AtStep sets what is called at every step.
func AtStep(f func(step string)) { atStep = f }
