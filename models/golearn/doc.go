// Package golearn grows forests and readable rules with golearn's ID3 trees (github.com/sjwhitworth/golearn, last commit of December 2022)
// and serves them from flat arrays of our own.
//
// golearn's tree induction is used as it is: trees.InferID3Tree on a base.DenseInstances grid. Everything around it is fenced, because
// these defects were found by reading and running it (reference: its source at 74ae077eafb2):
//
//   - ensemble.RandomForest and meta.BaggedModel cannot be seeded (goroutines share the global source), return votes and no
//     probabilities, break ties by map order, and package ensemble needs cgo. Here the bagging is ours: a PCG stream per (seed, tree).
//   - ID3DecisionTree.PredictProba panics for more than one row and Predict sends unseen values to a random child. Here the fitted
//     Root is read once (SplitRule, Children, ClassDist) and compiled; its Class, which is random for tied leaves, is never read.
//   - InstancesView iterates in random map order and InformationGainRuleGenerator breaks ties by it. Here the RuleGenerator is ours:
//     it reads row numbers, sorts them, and splits on exact counts with ties to the first feature and the lowest threshold.
//   - DecomposeOnNumericAttributeThreshold takes an attribute out of the subtree once it was split on, so a path uses a feature once and
//     depth is at most the number of features of the tree. That is golearn's nature and stays.
//   - NaN breaks its sorting: missing values are replaced by a value below the training minimum before golearn sees them.
//   - linear_models.LogisticRegression panics on today's Go and drops negative features when predicting; it is not used.
//
// Only cgo-free packages of golearn are imported (base, trees).
package golearn
