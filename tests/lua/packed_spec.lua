-- Packed sequences: every sequence of one call as if it stood alone, forward and backward.
local rapt = require "rapt"

local lengths = { q = { 30, 0, 1, 40 }, k = { 33, 5, 2, 37 } }

local function borders(list, dtype)
  local at, result = 0, { 0 }
  for _, n in ipairs(list) do at = at + n; result[#result + 1] = at end
  return rapt.tensor(result, { dtype = dtype }), at
end

local function close(a, b, what)
  local ok, err = rapt.allclose(a, b, { rtol = 0, atol = 1e-5 * math.max(1, b:abs():max():item()) })
  assert.is_true(ok, ("%s is off by %g"):format(what, err or 0))
end

-- `parts` says of each input along which dimension it goes with the queries (q) or the keys (k).
local function check(op, inputs, parts, attrs, wanted)
  local cu_q, N = borders(lengths.q, "i32")
  local cu_k = borders(lengths.k, "i64")
  for _, t in pairs(inputs) do t:requires_grad_() end
  local function call(with, packed)
    local given = {}
    for name, t in pairs(with) do given[name] = t end
    if packed then given.cu_seqlens_q, given.cu_seqlens_k = cu_q, cu_k end
    local o, others = rapt.call(op, given, attrs)
    return o, others.lse
  end
  local o, lse = call(inputs, true)
  local seed = rapt.randn(table.unpack(o.shape))
  local lse_seed = lse and rapt.randn(table.unpack(lse.shape))
  local loss = (o * seed):sum()
  if lse then loss = loss + (lse * lse_seed):sum() end
  loss:backward()
  local gradients = {}
  for name, t in pairs(inputs) do gradients[name], t.grad = t.grad, nil end
  local total
  local at = { q = 1, k = 1 }
  for s, n in ipairs(lengths.q) do
    local count = { q = n, k = lengths.k[s] }
    if n > 0 then
      local own = {}
      for name, t in pairs(inputs) do
        for letter, dim in pairs(parts[name] or {}) do t = t:narrow(dim, at[letter], count[letter]) end
        own[name] = t
      end
      local part, part_lse = call(own, false)
      close(o:narrow(3, at.q, n), part, op .. ", o of sequence " .. s)
      local l = (part * seed:narrow(3, at.q, n)):sum()
      if lse then
        close(lse:narrow(3, at.q, n), part_lse, op .. ", lse of sequence " .. s)
        l = l + (part_lse * lse_seed:narrow(3, at.q, n)):sum()
      end
      total = total and total + l or l
    end
    at.q, at.k = at.q + n, at.k + count.k
  end
  assert.equal(N + 1, at.q)
  total:backward()
  for _, name in ipairs(wanted) do
    close(gradients[name], inputs[name].grad, op .. ", gradient of " .. name)
  end
end

describe("packed sequences", function()
  local _, N = borders(lengths.q, "i32")
  local _, M = borders(lengths.k, "i32")
  before_each(function() rapt.manual_seed(11) end)

  for _, given in ipairs{ false, true } do
    it("of agent, agents " .. (given and "given" or "pooled"), function()
      local x = {
        q = rapt.randn(1, 2, N, 7), k = rapt.randn(1, 2, M, 7), v = rapt.randn(1, 2, M, 6),
        agent_bias = rapt.randn(2, 5, M), query_bias = rapt.randn(2, N, 5), sink = rapt.randn(2),
      }
      if given then x.agents = rapt.randn(1, 2, 5, 7) end
      local wanted = { "q", "k", "v", "agent_bias", "query_bias", "sink" }
      if given then wanted[#wanted + 1] = "agents" end
      check("agent", x, {
        q = { q = 3 }, k = { k = 3 }, v = { k = 3 }, agent_bias = { k = 3 }, query_bias = { q = 2 },
      }, { n_agents = 5, softcap = 2 }, wanted)
    end)
  end

  it("of mta, with all that it takes", function()
    check("mta", {
      q = rapt.randn(1, 4, N, 7), k = rapt.randn(1, 2, M, 7), v = rapt.randn(1, 2, M, 6),
      qk_kernel = rapt.randn(4, 3, 5) * 0.3, qk_kernel_post = rapt.randn(4, 2, 3) * 0.4,
      head_kernel = rapt.randn(2, 2, 2), alibi = rapt.rand(4) * 0.1, sink = rapt.randn(4),
      bias = rapt.randn(1, 4, N, M),
    }, {
      q = { q = 3 }, k = { k = 3 }, v = { k = 3 }, bias = { q = 3, k = 4 },
    }, { window = { 9, 4 }, softcap = 3, causal = false, returns = { "lse" } },
      { "q", "k", "v", "qk_kernel", "qk_kernel_post", "head_kernel", "alibi", "sink", "bias" })
  end)

  it("are refused where the borders make no sense", function()
    local q = rapt.randn(1, 1, 4, 2)
    for _, op in ipairs{ "agent", "mta" } do
      assert.has_error(function()
        rapt.call(op, { q = q, k = q, v = q, cu_seqlens_q = rapt.tensor({ 0, 3 }, { dtype = "i32" }),
          cu_seqlens_k = rapt.tensor({ 0, 4 }, { dtype = "i32" }) })
      end, op .. ": cu_seqlens_q must rise from 0 to N = 4, but entry 2 is 3")
    end
  end)
end)
