-- Decoding states from Lua.
local rapt = require "rapt"

local B, H, N, D = 2, 3, 9, 4

describe("a decoding state", function()
  for _, op in ipairs { "softmax", "cog" } do
    local q, k, v = rapt.randn(B, H, N, D), rapt.randn(B, H, N, D), rapt.randn(B, H, N, D)
    local whole = rapt.ops[op] { q = q, k = k, v = v, causal = true }

    local function rows(from, n)
      return { q = q:narrow(3, from, n), k = k:narrow(3, from, n), v = v:narrow(3, from, n) }
    end
    local function same(expected, t) assert.is_true((rapt.allclose(t, expected, { atol = 1e-5,
      rtol = 1e-5 }))) end

    it("of " .. op .. " gives what one call gives, at every split", function()
      for split = 0, N - 1 do
        local st, prefill = rapt.state(op, rows(1, split), { causal = true })
        assert.equal(split, st.position)
        if split > 0 then same(whole:narrow(3, 1, split), prefill) end
        for i = split + 1, N do
          local o = st:step(rows(i, 1))
          assert.same({ B, H, 1, D }, o.shape)
          same(whole:narrow(3, i, 1), o)
          assert.equal(i, st.position)
        end
      end
    end)

    it("of " .. op .. " is forked, cut back, saved and loaded", function()
      local st = rapt.state(op, rows(1, 5), { causal = true })
      assert.equal(op, st.operator)
      assert.is_true(st.bytes > 0)
      local fork = st:fork()
      fork:step(rows(9, 1))
      assert.equal(5, st.position)
      assert.equal(6, fork.position)
      same(whole:narrow(3, 6, 1), st:step(rows(6, 1)))
      assert.equal(st, st:truncate(4))
      assert.equal(4, st.position)
      same(whole:narrow(3, 5, 1), st:step(rows(5, 1)))
      local path = os.tmpname() .. ".safetensors"
      st:save(path)
      local back = rapt.state(path)
      os.remove(path)
      assert.equal(5, back.position)
      assert.equal(op, back.operator)
      same(whole:narrow(3, 6, 1), back:step(rows(6, 1)))
    end)
  end

  -- What carries its state in tensors of its own as well as what appends rows.
  for _, op in ipairs(rapt.operators()) do
    local description = rapt.describe(op)
    if description.decode then
      it("of " .. op .. " goes on from a file as it was", function()
        local sizes = { B = 2, H = 4, G = 2, N = 7, M = 7, D = 4, E = 3, L = 4 }
        local function rows(from, n)
          local inputs = {}
          for _, input in ipairs(description.inputs) do
            if not input.optional and input.role ~= "state" then
              local shape, positions = {}, nil
              for letter in input.shape:gmatch("%u") do
                shape[#shape + 1] = sizes[letter]
                if letter == "N" or letter == "M" then positions = #shape end
              end
              rapt.manual_seed(#input.name + input.name:byte())
              local t = rapt.randn(shape)
              if input.activation:sub(1, 1) == "-" then t = -t:abs() end
              inputs[input.name] = positions and t:narrow(positions, from, n) or t
            end
          end
          return inputs
        end
        for _, split in ipairs { 0, 5 } do
          local st <close> = rapt.state(op, rows(1, split))
          if split == 0 then st:step(rows(1, 1)) end
          local path = os.tmpname()
          st:save(path)
          local back <close> = rapt.state(path)
          os.remove(path)
          assert.equal(st.position, back.position)
          for i = st.position + 1, 7 do
            local same_bits = { atol = 0, rtol = 0 }
            assert.is_true((rapt.allclose(st:step(rows(i, 1)), back:step(rows(i, 1)), same_bits)))
          end
        end
      end)
    end
  end

  it("says what it is, and is closed", function()
    local q = rapt.randn(1, 1, 2, 4)
    local st = rapt.state("softmax", { q = q, k = q, v = q, causal = true })
    assert.is_truthy(tostring(st):find("^rapt.state of softmax after 2 positions, %d+ bytes$"))
    st:close()
    assert.equal("rapt.state (closed)", tostring(st))
    assert.has_error(function() st:step { q = q, k = q, v = q } end)
    do
      local block <close> = rapt.state("softmax", { q = q, k = q, v = q, causal = true })
      assert.equal(2, block.position)
    end
  end)

  it("refuses what does not fit", function()
    local q = rapt.randn(1, 1, 2, 4)
    local st = rapt.state("softmax", { q = q, k = q, v = q }, { causal = true })
    local function fails(part, f)
      local ok, text = pcall(f)
      assert.is_false(ok)
      assert.is_truthy(text:find(part, 1, true), text)
      assert.equal(2, st.position)
    end
    local one = q:narrow(3, 1, 1)
    fails("causal", function() st:step { q = one, k = one, v = one, causal = true } end)
    fails("v", function() st:step { q = one, k = one } end)
    fails("[1,1,1,3]", function() st:step { q = one, k = one:narrow(4, 1, 3), v = one } end)
    fails("3", function() st:truncate(3) end)
    fails("truncate: positions must be an integer, got nothing", function() st:truncate() end)
    fails("none.safetensors", function() rapt.state("/nonexistent/none.safetensors") end)
  end)
end)

describe("the final state of log_linear", function()
  -- It is linear in k and in v, so that each times its gradient sums to what the state's gradient says of it.
  it("has gradients where as few levels as can be hold a power of two", function()
    rapt.manual_seed(5)
    for _, L in ipairs { 8, 9 } do
      local k, v = rapt.randn(1, 2, 128, 3):requires_grad_(), rapt.randn(1, 2, 128, 4):requires_grad_()
      local _, extra = rapt.ops.log_linear { q = rapt.randn(1, 2, 128, 3), k = k, v = v,
        g = -rapt.rand(1, 2, 128) * 0.05, l = rapt.rand(1, 2, 128, L), returns = { "final_state" } }
      local seed = rapt.randn(1, 2, L, 3, 4)
      local said = (extra.final_state * seed):sum()
      said:backward()
      for _, x in ipairs { k, v } do
        assert.near(said:item(), (x:detach() * x.grad):sum():item(), 1e-3 * (1 + math.abs(said:item())))
      end
    end
  end)

  it("without a new position is the one that came in, and so is its gradient", function()
    local function through(state)
      local _, extra = rapt.ops.log_linear { q = rapt.zeros(1, 2, 0, 3), k = rapt.zeros(1, 2, 0, 3),
        v = rapt.zeros(1, 2, 0, 4), g = rapt.zeros(1, 2, 0), l = rapt.zeros(1, 2, 0, 5), state = state,
        position = 13, returns = { "final_state" } }
      return extra.final_state
    end
    -- Position 13 has sums of 1, 4 and 8 positions; the other levels hold nothing.
    local held = through(rapt.ones(1, 2, 5, 3, 4))
    assert.equal(3 * 2 * 3 * 4, held:sum():item())
    local state, seed = rapt.randn(1, 2, 5, 3, 4):requires_grad_(), rapt.randn(1, 2, 5, 3, 4)
    local final = through(state)
    assert.same((state:detach() * held):totable(), final:detach():totable());
    (final * seed):sum():backward()
    assert.same((seed * held):totable(), state.grad:totable())
  end)
end)
