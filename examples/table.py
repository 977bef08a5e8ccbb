"""For people with a table: from a frame, as it is, to a model, a report of its columns, and a score to compare with.

The table is real: 3,000 of 6,366 answers to a magazine's questionnaire of 1974 (R. C. Fair, "A theory of extramarital
affairs", 1978; statsmodels ships it). Numbers, categories and gaps stay as people write them. Can one tell from age,
years of marriage, religion and job whether somebody is unfaithful? A little better than by a linear model.
"""

import numpy as np
import pandas as pd
from statsmodels.datasets import fair

from fastmlp import tables

JOBS = {1: "student", 2: "unskilled", 3: "office", 4: "teacher", 5: "manager", 6: "professional"}
answers = fair.load_pandas().data.sample(3000, random_state=0).reset_index(drop=True)
frame = pd.DataFrame(
    {
        "married for": [f"{years:g} years" for years in answers["yrs_married"]],
        "marriage": answers["rate_marriage"],
        "age": answers["age"],
        "children": answers["children"],
        "religious": answers["religious"],
        "job": answers["occupation"].map(JOBS),
        "unfaithful": np.where(answers["affairs"] > 0, "yes", "no"),
    }
)
frame.loc[::10, "age"] = np.nan  # not everybody says

train, unseen = frame[:2400], frame[2400:]
model = tables.fit(train, "unfaithful", seed=0)
for column in model.columns:
    missing = f", {column.missing} missing" if column.missing else ""
    print(f"{column.name:>12}: {column.taken}{missing}")
print("accuracy on rows held out:", {"network": round(model.scores["accuracy"], 3)}, end=" ")
print({name: round(scores["accuracy"], 3) for name, scores in model.baseline.items()})

right = np.mean(np.asarray(model.predict(unseen)) == unseen["unfaithful"])
most = np.mean(unseen["unfaithful"] == "no")
print(f"{len(unseen)} answers not seen: {right:.1%} right; 'no' for everybody would be {most:.1%}")
assert right > most + 0.03
