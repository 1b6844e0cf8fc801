-- Arithmetic, comparisons and the core's operators as functions and methods: values.
local rapt = require "rapt"

local function near(expected, t, tolerance)
  local reference = rapt.is_tensor(expected) and expected or rapt.tensor(expected, { dtype = "f64" })
  assert.same(reference.shape, t.shape)
  local ok, err = rapt.allclose(t, reference, { rtol = tolerance or 1e-6, atol = tolerance or 1e-6 })
  assert.is_true(ok, ("off by %g\n%s\n%s"):format(err, tostring(t), tostring(reference)))
end

local a = rapt.tensor { { 1, -2, 3 }, { 4, 5, -6 } }
local b = rapt.tensor { 10, 20, 30 }

describe("arithmetic", function()
  it("works on tensors, with broadcasting", function()
    near({ { 11, 18, 33 }, { 14, 25, 24 } }, a + b)
    near({ { -9, -22, -27 }, { -6, -15, -36 } }, a - b)
    near({ { 10, -40, 90 }, { 40, 100, -180 } }, a * b)
    near({ { 10, -10, 10 }, { 2.5, 4, -5 } }, b / a)
    near({ { -1, 2, -3 }, { -4, -5, 6 } }, -a)
    near({ { 1, 4, 9 }, { 16, 25, 36 } }, a ^ 2)
    near({ { 2, 3, 4 }, { 3, 4, 5 } }, rapt.tensor { { 1 }, { 2 } } + rapt.tensor { 1, 2, 3 })
  end)

  it("works with numbers on either side", function()
    near({ 11, 21, 31 }, b + 1)
    near({ 11, 21, 31 }, 1 + b)
    near({ 9, 19, 29 }, b - 1)
    near({ -9, -19, -29 }, 1 - b)
    near({ 5, 10, 15 }, b * 0.5)
    near({ 5, 10, 15 }, 0.5 * b)
    near({ 5, 10, 15 }, b / 2)
    near({ 6, 3, 2 }, 60 / b)
    near({ 1 / 3, 2 / 3, 1 }, b / 30, 1e-7)
  end)

  it("divides by numbers exactly", function()
    local x = rapt.randn(1000)
    local expected = rapt.tensor(x:totable(), { dtype = "f64" }) / 3
    assert.same(expected:to("f32"):totable(), (x / 3):totable())
  end)

  it("keeps the dtype", function()
    for _, dtype in ipairs { "f32", "f16", "bf16", "f64" } do
      local x = rapt.tensor({ 1, 2 }, { dtype = dtype })
      for _, y in ipairs { x + 1, 1 - x, x * 2, x / 3, 3 / x, -x, x ^ 2, x + x } do
        assert.equal(dtype, y.dtype)
      end
    end
  end)

  it("works on views", function()
    near({ { 2, 2, 6 }, { 2, 10, -3 }, { 6, -3, -12 } },
      rapt.tensor { { 1, 4, 7 }, { -2, 5, 8 }, { -1, -11, -6 } }
      + rapt.tensor { { 1, 4, 7 }, { -2, 5, 8 }, { -1, -11, -6 } }:transpose(1, 2))
  end)
end)

describe("operators as methods and functions", function()
  it("reduce", function()
    near(5, a:sum())
    near({ 5, 3, -3 }, a:sum(1))
    near({ { 2 }, { 3 } }, a:sum(-1, true))
    near({ { 2 }, { 3 } }, a:sum { dims = { 2 }, keepdim = true })
    near(5, a:sum(1, 2))
    near(5, a:sum { 1, 2 })
    near({ { 5 } }, a:sum(true))
    near({ 2.5, 1.5, -1.5 }, a:mean(1))
    near(5 / 6, a:mean())
    near({ 3, 5 }, a:max(2))
    near(5, a:max())
    near(-6, a:min())
    near({ 3, 5 }, rapt.max(a, 2))
    assert.same({ 2, 1 }, a:argmax(2):totable())
  end)

  it("work on elements", function()
    near({ { math.exp(1), math.exp(-2), math.exp(3) } }, a:narrow(1, 1, 1):exp(), 2e-5)
    near({ { 1, 2, 3 }, { 4, 5, 6 } }, a:abs())
    near({ { 1, 0, 3 }, { 4, 5, 0 } }, a:relu())
    near({ { 1, -8, 27 }, { 64, 125, -216 } }, a:pow(3), 1e-4)
    near({ { 3, -3, 7 }, { 9, 11, -11 } }, a:scale_add(2, 1))
    near({ { 10, 20, 30 }, { 10, 20, 30 } }, rapt.maximum(a, b))
    near(math.log(2), rapt.log(rapt.tensor(2, { dtype = "f64" })), 1e-15)
  end)

  it("put tensors together", function()
    near({ { 1, -2, 3 }, { 4, 5, -6 }, { 10, 20, 30 } }, rapt.cat(a, b:view(1, 3)))
    near({ { 1, -2, 3, 1 }, { 4, 5, -6, 2 } }, rapt.cat(a, rapt.tensor { { 1 }, { 2 } }, 2))
    near({ { 1, -1, 2 }, { 4, 9, 3 } }, a:cumsum())
    near({ { 1, -2, 3 }, { 5, 3, -3 } }, a:cumsum(1))
  end)

  it("multiply matrices", function()
    near({ { 4 } }, rapt.tensor({ { 2, 0 } }):matmul(rapt.tensor { { 2 }, { 9 } }))
    near({ { 19, 22 }, { 43, 50 } }, rapt.matmul(rapt.tensor { { 1, 2 }, { 3, 4 } },
      rapt.tensor { { 5, 6 }, { 7, 8 } }))
    local x, y = rapt.randn(2, 3, 4), rapt.randn(2, 5, 4)
    near(rapt.matmul(x, y:transpose(2, 3)), rapt.matmul(x, y, { transpose_b = true }), 1e-5)
    near(rapt.matmul(x, y:transpose(2, 3)), x:matmul(y, false, true), 1e-5)
  end)

  it("take the softmax over any dimension", function()
    local e1, e2 = math.exp(1), math.exp(2)
    near({ { e1 / (e1 + e2), e2 / (e1 + e2) } }, rapt.tensor({ { 1, 2 } }):softmax(2))
    near({ { 1, 1 } }, rapt.tensor({ { 1, 2 } }):softmax(1))
    near({ { e1 / (e1 + e2), e2 / (e1 + e2) } }, rapt.tensor({ { 1, 2 } }):softmax())
    near({ { e1 / (e1 + e2), e2 / (e1 + e2) } }, rapt.softmax { x = rapt.tensor { { 1, 2 } }, dim = -1 })
    near(1, rapt.randn(5, 7):softmax(1):sum(1)[1])
  end)

  it("are there for every operator of the core", function()
    for _, name in ipairs(rapt.operators("all")) do
      local short = name:match("^core%.([%w_]+)$")
      if short and not rapt.describe(name).private then
        assert.is_function(rapt[short], name)
        assert.is_function(rapt.zeros(1)[short], name)
      end
    end
  end)
end)

describe("comparisons", function()
  it("give tensors of bool", function()
    assert.same({ { true, false, true }, { true, true, false } }, a:gt(0):totable())
    assert.same({ false, true }, rapt.tensor({ 1, 2 }):eq(rapt.tensor { 2, 2 }):totable())
    assert.same({ true, false }, rapt.tensor({ 1, 2 }):ne(2):totable())
    assert.same({ { true, true }, { false, true } },
      rapt.tensor({ { 1 }, { 2 } }):le(rapt.tensor { 1, 2 }):totable())
    assert.same({ true, false }, rapt.tensor({ 1, 2 }):lt(2):totable())
    assert.same({ false, true }, rapt.tensor({ 1, 2 }):ge(2):totable())
    assert.equal("bool", a:gt(0).dtype)
    assert.same({ false }, rapt.tensor({ 0 / 0 }):eq(0 / 0):totable())
    assert.same({}, rapt.zeros(0):eq(1):totable())
    assert.same({ true, false }, rapt.tensor({ true, false }):eq(true):totable())
  end)

  it("are exact for integers", function()
    local big = (1 << 53) + 1
    assert.same({ true, false }, rapt.tensor({ big, big - 1 }, { dtype = "i64" }):eq(big):totable())
  end)

  it("choose with where", function()
    near({ { 1, 0, 3 }, { 4, 5, 0 } }, rapt.where(a:gt(0), a, rapt.zeros(1)))
    near({ { 1, 9, 3 }, { 4, 5, 9 } }, a:masked_fill(a:lt(0), 9))
  end)
end)

describe("allclose", function()
  it("tells the greatest absolute error", function()
    local ok, err = rapt.allclose(rapt.tensor { 1, 2 }, rapt.tensor { 1, 2.5 })
    assert.is_false(ok)
    assert.equal(0.5, err)
    ok, err = rapt.allclose(rapt.tensor { 1, 2 }, rapt.tensor { 1, 2.5 }, { atol = 0.5 })
    assert.is_true(ok)
    assert.equal(0.5, err)
    assert.is_true((rapt.allclose(rapt.tensor { 100 }, rapt.tensor { 101 }, { rtol = 0.01, atol = 0 })))
    assert.is_true((rapt.allclose(rapt.tensor { 1 / 0 }, rapt.tensor { 1 / 0 })))
    assert.is_false((rapt.allclose(rapt.tensor { 1 }, rapt.tensor { 1 / 0 })))
    assert.is_true((rapt.allclose(rapt.zeros(0), rapt.zeros(0))))
    ok, err = rapt.allclose(rapt.tensor { 1, 0 / 0, 2 }, rapt.tensor { 1, 2, 2.5 })
    assert.is_false(ok)
    assert.is_true(err ~= err)
    assert.is_true((rapt.allclose(rapt.tensor { 0 / 0 }, rapt.tensor { 0 / 0 }, { equal_nan = true })))
    assert.is_true((rapt.allclose(a:transpose(1, 2), a:transpose(1, 2):contiguous():to("f64"))))
  end)
end)
