package money

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func bigOf(q Quantity) *big.Int { return Amount{q.Lo, q.Hi}.Big() }

func anyQuantity(t *rapid.T, name string) Quantity {
	return Quantity{Hi: rapid.Uint64().Draw(t, name+".hi"), Lo: rapid.Uint64().Draw(t, name+".lo")}
}

// Quantities, rates and amounts are what big integers say.
func TestArithmeticIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, r := anyQuantity(t, "q"), anyQuantity(t, "r")
		q.Hi >>= 1
		r.Hi >>= 1
		if got, want := q.Plus(r).String(), new(big.Int).Add(bigOf(q), bigOf(r)).String(); got != want {
			t.Fatalf("%v + %v = %v, want %v", q, r, got, want)
		}
		if !r.Less(q) && !q.Minus(r).IsZero() || r.Less(q) && bigOf(q.Minus(r)).Cmp(new(big.Int).Sub(bigOf(q), bigOf(r))) != 0 {
			t.Fatalf("%v - %v = %v", q, r, q.Minus(r))
		}
		rate := Rate{hi: r.Hi, lo: r.Lo}
		a := rate.Of(q)
		if got, want := a.Big(), new(big.Int).Mul(bigOf(q), bigOf(r)); got.Cmp(want) != 0 {
			t.Fatalf("%v × %v = %v, want %v", q, r, got, want)
		}
		if got := amountOf(a.Big()); got != a {
			t.Fatalf("amountOf(%v) = %v", a, got)
		}
		grains := new(big.Int).Mul(big.NewInt(nanoFactor1), big.NewInt(nanoFactor2))
		a = Amount{a[0], a[1], a[2] >> 40}
		n, rest := a.Nanos()
		wantN, wantRest := new(big.Int).QuoRem(a.Big(), grains, new(big.Int))
		if bigOf(Quantity(n)).Cmp(wantN) != 0 || rest.Big().Cmp(wantRest) != 0 {
			t.Fatalf("Nanos(%v) = %v, %v, want %v, %v", a, n, rest, wantN, wantRest)
		}
	})
}

// Rounded parts add up to their rounded whole, and none is further than one billionth from what it was; so do shares.
func TestPartsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Amount {
			return Decimal(rapid.Uint64Range(0, uint64(MaxDecimal)).Draw(t, "price")).Rate(GiBHour, Whole).
				Of(Units(rapid.Int64Range(0, 1e15).Draw(t, "quantity")))
		}), 1, 20).Draw(t, "parts")
		var sum Amount
		for _, p := range parts {
			sum.Add(p)
		}
		total := sum.Round()
		var printed Nanos
		for i, n := range RoundAgainst(total, parts) {
			printed = printed.Plus(n)
			down, rest := parts[i].Nanos()
			if n != down && (n != down.Plus(Nanos{Lo: 1}) || rest.IsZero()) {
				t.Fatalf("part %v is printed as %v", parts[i], n)
			}
		}
		if printed != total {
			t.Fatalf("parts are printed as %v, total as %v", printed, total)
		}
		whole := Decimal(one/3).Rate(CoreHour, Whole).Of(Units(12345))
		var shared Amount
		for _, s := range whole.Share(parts) {
			shared.Add(s)
		}
		if shared != whole && !sum.IsZero() {
			t.Fatalf("shares of %v are %v", whole, shared)
		}
	})
}

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]string{"0": "0", "0.031611": "0.031611", "007.50": "7.5", "1000000": "1000000", "0.000000000001": "0.000000000001"} {
		if d, err := ParseDecimal(s); err != nil || d.String() != want {
			t.Errorf("ParseDecimal(%q) = %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", ".5", "5.", "-1", "+1", "1e3", "1_000", "0x1", "NaN", "1.2.3", "1000000.000000000001", "10000000", "0.0000000000001", strings.Repeat("9", 1000)} {
		if d, err := ParseDecimal(s); err == nil {
			t.Errorf("ParseDecimal(%q) = %v, want an error", s, d)
		}
	}
}

// An hour of each unit costs its price to the last grain.
func TestUnitsAreWhole(t *testing.T) {
	for u, quantity := range map[Unit]int64{CoreHour: 3_600_000_000, GiBHour: 3600 << 30, Hour: 3_600_000, GiB: 1 << 30} {
		d, _ := ParseDecimal("0.123456789012")
		if got := d.Rate(u, Whole).Of(Units(quantity * 1_000_000)).Round().String(); got != "123456.789012" {
			t.Errorf("a million times 0.123456789012 for %d is %v", quantity, got)
		}
	}
	five, _ := ParsePercent("12.5")
	d, _ := ParseDecimal("8")
	if got := d.Rate(Hour, five).Of(Units(3_600_000)).Round().String(); got != "1" {
		t.Errorf("12.5 %% of 8 is %v", got)
	}
}

// A node's total is what its pools cost, but for less than 1e-15.
func TestSplit(t *testing.T) {
	total, _ := ParseDecimal("0.192")
	cpu, _ := ParseDecimal("0.03")
	ram, _ := ParseDecimal("0.004")
	capacity := [3]Quantity{Units(4 * 3_600_000_000), Units(16_374_123_456 * 3600), {}}
	rates := Split(total, Whole, [3]Rate{cpu.Rate(CoreHour, Whole), ram.Rate(GiBHour, Whole), cpu.Rate(CoreHour, Whole)}, capacity)
	var sum Amount
	for i, r := range rates {
		sum.Add(r.Of(capacity[i]))
	}
	if got := sum.Round().String(); got != "0.192" || rates[2] != (Rate{}) {
		t.Errorf("pools cost %s, GPU rate %v", got, rates[2])
	}
	missing := total.Rate(Hour, Whole).Of(Units(3_600_000)).Minus(sum)
	if missing.Float() > 1e-15 {
		t.Errorf("%v is missing", missing.Float())
	}
}
