package features

import (
	"fmt"
	"go/ast"
	"go/parser"
	goscanner "go/scanner"
	"go/token"
	"math"
	"strconv"
	"strings"
)

// Op is what a node of an expression does.
type Op uint8

// The operations. Numbers are doubles; null runs through all of them but OpCoalesce and the branches of OpIf.
const (
	OpNumber   Op = iota // Number
	OpRef                // the feature Ref
	OpAdd                // a + b
	OpSub                // a − b
	OpMul                // a × b
	OpDiv                // a ÷ b, null where b is 0
	OpNeg                // −a
	OpLess               // a < b
	OpLessEq             // a ≤ b
	OpEqual              // a = b
	OpNotEq              // a ≠ b
	OpAnd                // a and b
	OpOr                 // a or b
	OpNot                // not a
	OpSince              // days from a to the cut
	OpBetween            // days from b to a
	OpIf                 // if a then b else c; an unknown a is false
	OpCoalesce           // a, or b where a is null
	OpMin                // the smaller of a and b; null if either is
	OpMax                // the larger
	OpAbs                // |a|
	OpSqrt               // null where a is negative
	OpLog1p              // ln(1 + a), null at or below −1
)

// Expr is a checked expression over features.
type Expr struct {
	Op     Op
	Kind   Kind
	Number float64
	Ref    string
	Args   []*Expr
}

// walk calls do for the node and everything below it; a nil expression has no nodes.
func (e *Expr) walk(do func(*Expr)) {
	if e == nil {
		return
	}
	do(e)
	for _, a := range e.Args {
		a.walk(do)
	}
}

// exprError is a fault at a column (1 is the first) of the expression.
type exprError struct {
	column int
	reason string
}

// exprParser turns Go expression syntax into checked nodes. Go's own parser knows precedence and positions, and everything that is not
// listed here is refused, so nothing of the text reaches SQL.
type exprParser struct {
	kind func(name string) (Kind, error)
}

// parseExpr parses and checks an expression; kind tells what a feature's value means.
func parseExpr(text string, kind func(string) (Kind, error)) (e *Expr, fault *exprError) {
	// `if` is a keyword of Go: it is written as a call, so it is renamed to a name of the same length.
	tree, err := parser.ParseExpr(renameIf(text))
	if err != nil {
		column, reason := 1, err.Error()
		if list, ok := err.(goscanner.ErrorList); ok && len(list) > 0 {
			column, reason = list[0].Pos.Column, list[0].Msg
		}
		return nil, &exprError{column, "not an expression: " + reason}
	}
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(*exprError)
			if !ok {
				panic(r)
			}
			e, fault = nil, f
		}
	}()
	return (&exprParser{kind}).node(tree), nil
}

// renameIf replaces the word if before a parenthesis by If, keeping every position.
func renameIf(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], "if") && (i == 0 || !wordByte(text[i-1])) && i+2 < len(text) && strings.HasPrefix(strings.TrimLeft(text[i+2:], " "), "(") {
			b.WriteString("If")
			i++
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *exprParser) fail(at token.Pos, format string, args ...any) {
	panic(&exprError{int(at), fmt.Sprintf(format, args...)})
}

func (p *exprParser) node(n ast.Expr) *Expr {
	switch n := n.(type) {
	case *ast.ParenExpr:
		return p.node(n.X)
	case *ast.BasicLit:
		x, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != token.INT && n.Kind != token.FLOAT || err != nil || math.IsInf(x, 0) {
			p.fail(n.Pos(), "%s is not a number", n.Value)
		}
		return &Expr{Op: OpNumber, Kind: KindNumber, Number: x}
	case *ast.Ident:
		kind, err := p.kind(n.Name)
		if err != nil {
			p.fail(n.Pos(), "%v", err)
		}
		return &Expr{Op: OpRef, Kind: kind, Ref: n.Name}
	case *ast.UnaryExpr:
		return p.unary(n)
	case *ast.BinaryExpr:
		return p.binary(n)
	case *ast.CallExpr:
		return p.call(n)
	}
	p.fail(n.Pos(), "only numbers, features, + - * / < <= > >= == != && || ! and functions may stand here")
	return nil
}

func (p *exprParser) unary(n *ast.UnaryExpr) *Expr {
	a := p.node(n.X)
	switch n.Op {
	case token.SUB:
		p.want(n.X, a, KindNumber, KindCount, KindMoney)
		return &Expr{Op: OpNeg, Kind: a.Kind, Args: []*Expr{a}}
	case token.NOT:
		p.want(n.X, a, KindBool)
		return &Expr{Op: OpNot, Kind: KindBool, Args: []*Expr{a}}
	}
	p.fail(n.Pos(), "%s is not an operator here", n.Op)
	return nil
}

func (p *exprParser) binary(n *ast.BinaryExpr) *Expr {
	a, b := p.node(n.X), p.node(n.Y)
	args := []*Expr{a, b}
	switch n.Op {
	case token.ADD, token.SUB:
		p.want(n.X, a, KindNumber, KindCount, KindMoney)
		p.want(n.Y, b, KindNumber, KindCount, KindMoney)
		op := OpAdd
		if n.Op == token.SUB {
			op = OpSub
		}
		return &Expr{Op: op, Kind: p.same(n.OpPos, n.Op.String(), a, b), Args: args}
	case token.MUL:
		return &Expr{Op: OpMul, Kind: p.product(n, a, b), Args: args}
	case token.QUO:
		return &Expr{Op: OpDiv, Kind: p.quotient(n.X, n.Y, n.OpPos, a, b), Args: args}
	case token.LSS, token.LEQ, token.GTR, token.GEQ, token.EQL, token.NEQ:
		if a.Kind == KindText || b.Kind == KindText || a.Kind == KindBool || b.Kind == KindBool {
			p.fail(n.OpPos, "%s and %s cannot be compared", a.Kind, b.Kind)
		}
		p.same(n.OpPos, n.Op.String(), a, b)
		ops := map[token.Token]Op{token.LSS: OpLess, token.LEQ: OpLessEq, token.GTR: OpLess, token.GEQ: OpLessEq, token.EQL: OpEqual, token.NEQ: OpNotEq}
		if n.Op == token.GTR || n.Op == token.GEQ {
			args = []*Expr{b, a}
		}
		return &Expr{Op: ops[n.Op], Kind: KindBool, Args: args}
	case token.LAND, token.LOR:
		p.want(n.X, a, KindBool)
		p.want(n.Y, b, KindBool)
		op := OpAnd
		if n.Op == token.LOR {
			op = OpOr
		}
		return &Expr{Op: op, Kind: KindBool, Args: args}
	}
	p.fail(n.OpPos, "%s is not an operator here", n.Op)
	return nil
}

// want refuses a node of another kind.
func (p *exprParser) want(at ast.Expr, e *Expr, kinds ...Kind) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if e.Kind == k {
			return
		}
		names[i] = k.String()
	}
	p.fail(at.Pos(), "this is %s, want %s", e.Kind, strings.Join(names, " or "))
}

// same is the kind of a sum or comparison: money goes with money, counts with numbers, times with times. A plain number goes with nothing but
// counts and numbers, except 0, which goes with money too.
func (p *exprParser) same(at token.Pos, op string, a, b *Expr) Kind {
	switch {
	case a.Kind == b.Kind:
		return a.Kind
	case a.Kind == KindMoney && b.Op == OpNumber && b.Number == 0:
		return KindMoney
	case b.Kind == KindMoney && a.Op == OpNumber && a.Number == 0:
		return KindMoney
	case (a.Kind == KindCount || a.Kind == KindNumber) && (b.Kind == KindCount || b.Kind == KindNumber):
		if whole(a) && whole(b) {
			return KindCount
		}
		return KindNumber
	case a.Kind == KindMoney && b.Kind == KindNumber || b.Kind == KindMoney && a.Kind == KindNumber:
		p.fail(at, "%s %s %s: an amount is written money(12.5)", a.Kind, op, b.Kind)
	}
	p.fail(at, "%s %s %s do not go together", a.Kind, op, b.Kind)
	return 0
}

// whole reports whether a node is an integer.
func whole(e *Expr) bool {
	return e.Kind == KindCount || e.Op == OpNumber && e.Number == math.Trunc(e.Number)
}

func (p *exprParser) product(n *ast.BinaryExpr, a, b *Expr) Kind {
	p.want(n.X, a, KindNumber, KindCount, KindMoney)
	p.want(n.Y, b, KindNumber, KindCount, KindMoney)
	switch {
	case a.Kind == KindMoney && b.Kind == KindMoney:
		p.fail(n.OpPos, "money × money means nothing")
	case a.Kind == KindMoney || b.Kind == KindMoney:
		return KindMoney
	case whole(a) && whole(b):
		return KindCount
	}
	return KindNumber
}

func (p *exprParser) quotient(x, y ast.Expr, at token.Pos, a, b *Expr) Kind {
	p.want(x, a, KindNumber, KindCount, KindMoney)
	p.want(y, b, KindNumber, KindCount, KindMoney)
	switch {
	case a.Kind == KindMoney && b.Kind != KindMoney:
		return KindMoney
	case b.Kind == KindMoney && a.Kind != KindMoney:
		p.fail(at, "%s ÷ money means nothing", a.Kind)
	}
	return KindNumber
}

func (p *exprParser) call(n *ast.CallExpr) *Expr {
	name, ok := n.Fun.(*ast.Ident)
	if !ok {
		p.fail(n.Pos(), "this is no function")
	}
	arity := map[string]int{"div": 2, "days_since": 1, "days_between": 2, "If": 3, "coalesce": 2, "min": 2, "max": 2, "abs": 1, "sqrt": 1, "log1p": 1, "money": 1}
	want, ok := arity[name.Name]
	if !ok {
		p.fail(n.Pos(), "there is no function %s; there are div, days_since, days_between, if, coalesce, min, max, abs, sqrt, log1p, money", name.Name)
	}
	if len(n.Args) != want || n.Ellipsis.IsValid() {
		p.fail(n.Pos(), "%s takes %d values, not %d", strings.ToLower(name.Name), want, len(n.Args))
	}
	args := make([]*Expr, want)
	for i, a := range n.Args {
		args[i] = p.node(a)
	}
	switch name.Name {
	case "div":
		return &Expr{Op: OpDiv, Kind: p.quotient(n.Args[0], n.Args[1], n.Pos(), args[0], args[1]), Args: args}
	case "days_since":
		p.want(n.Args[0], args[0], KindTime, KindDay)
		return &Expr{Op: OpSince, Kind: KindNumber, Args: args}
	case "days_between":
		p.want(n.Args[0], args[0], KindTime, KindDay)
		p.same(n.Pos(), "and", args[0], args[1])
		return &Expr{Op: OpBetween, Kind: KindNumber, Args: args}
	case "If":
		p.want(n.Args[0], args[0], KindBool)
		return &Expr{Op: OpIf, Kind: p.same(n.Pos(), "or", args[1], args[2]), Args: args}
	case "coalesce":
		return &Expr{Op: OpCoalesce, Kind: p.same(n.Pos(), "or", args[0], args[1]), Args: args}
	case "money":
		if args[0].Op != OpNumber {
			p.fail(n.Pos(), "money takes a number")
		}
		return &Expr{Op: OpNumber, Kind: KindMoney, Number: math.Round(args[0].Number * MicrosPerUnit)}
	}
	ops := map[string]Op{"min": OpMin, "max": OpMax, "abs": OpAbs, "sqrt": OpSqrt, "log1p": OpLog1p}
	for i, a := range args {
		p.want(n.Args[i], a, KindNumber, KindCount, KindMoney)
	}
	kind := args[0].Kind
	switch {
	case want == 2:
		kind = p.same(n.Pos(), "and", args[0], args[1])
	case name.Name != "abs":
		p.want(n.Args[0], args[0], KindNumber, KindCount)
		kind = KindNumber
	}
	return &Expr{Op: ops[name.Name], Kind: kind, Args: args}
}
